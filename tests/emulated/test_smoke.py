"""The smoke test on this processor, where it has to hold too."""

from collections.abc import Callable

import pytest
from emulated import smoke


@pytest.mark.parametrize("check", smoke.CHECKS, ids=lambda check: check.__name__)
def test_check(check: Callable[[], str]) -> None:
    assert check()


def test_what_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    def wrong() -> str:
        raise AssertionError("2 apart")

    monkeypatch.setattr(smoke, "CHECKS", [lambda: "fine", wrong])
    assert smoke.main() == 1
    out, err = capfd.readouterr()
    assert "wrong: WRONG" in out and "2 apart" in err
