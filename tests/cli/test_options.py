"""Sizes and options of a network, as commands take them."""

import pytest

from faltung.cli.options import options, shape


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("width=0.5", {"width": 0.5}),
        ("halvings=3", {"halvings": 3}),
        ("paper=true", {"paper": True}),
        ("head=every", {"head": "every"}),
        ("head=None", {"head": None}),
        ("widths=(3, 4)", {"widths": (3, 4)}),
        ("x=__import__('os')", {"x": "__import__('os')"}),
        ("x=" + "(" * 9999, {"x": "(" * 9999}),
    ],
)
def test_options(text: str, want: dict[str, object]) -> None:
    assert options([text]) == want


@pytest.mark.parametrize("text", ["width", "=3", "a b=3", ""])
def test_what_is_no_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be OPTION=VALUE$"):
        options([text])


def test_an_option_is_given_once() -> None:
    with pytest.raises(ValueError, match="width is given twice"):
        options(["width=1", "width=2"])


def test_shapes() -> None:
    assert shape("input", "3x224X224") == (3, 224, 224)
    with pytest.raises(ValueError, match="input='3x': must be sizes as 3x224x224"):
        shape("input", "3x")
