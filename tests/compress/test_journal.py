"""The journal of a walk: written, read back, refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from compress.test_recipe import FIRST

from faltung.compress.journal import JOURNAL, STEPS, Journal, Step, label, read_journal
from faltung.geometry.errors import FaltungError


def written(place: Path) -> Journal:
    steps = [Step("prune", 0, 0.3, 5), Step("prune", 1, 0.3, 5)]
    steps += [Step("quantise", 2, 8, 0), Step("q", 2, 8, 3)]
    entries = [replace(FIRST, step=step, left=("a: why",)) for step in steps]
    return Journal(place, {"from": "x"}).write(entries=(FIRST, *entries))


def test_read_back(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert read_journal(tmp_path) == made
    ended = made.write(end={"chosen": 1})
    assert read_journal(tmp_path).end == ended.end == {"chosen": 1}


def test_labels(tmp_path: Path) -> None:
    entries = written(tmp_path).entries
    assert [label(entries, n) for n in range(5)] == [
        "as trained",
        "prune",
        "prune x2",
        "prune x2, quantise 8",
        "prune x2, q 8, tuned",
    ]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("format",), 2),
        (("plan",), []),
        (("entries", 1, "bytes"), "12"),
        (("entries", 1, "bytes"), True),
        (("entries", 1, "changed"), 1),
        (("entries", 1, "ms"), {}),
        (("entries", 1, "ms"), {"1": [0.0, 1.0]}),
        (("entries", 1, "ms"), {"2": [1.0, 1.0]}),
        (("entries", 1, "step", "parent"), 1),
        (("entries", 1, "step", "parent"), -1),
        (("entries", 0, "step", "parent"), 0),
        (("entries", 1, "step", "means"), None),
        (("entries", 1, "choose", "lost"), "much"),
        (("entries", 1, "left"), [1]),
        (("entries",), {"a": 1}),
        (("end",), 7),
    ],
)
def test_refused(where: tuple[str | int, ...], value: object, tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / STEPS / JOURNAL
    found = json.loads(path.read_text())
    inner = found
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    path.write_text(json.dumps(found))
    with pytest.raises(FaltungError, match="not the journal of a walk") as error:
        read_journal(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "nan", '{"format": NaN}', "[" * 100_000, "\xff"])
def test_no_json(text: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / STEPS / JOURNAL).write_bytes(text.encode("latin-1"))
    with pytest.raises(FaltungError):
        read_journal(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / STEPS / JOURNAL
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises((ValueError, OSError)):
        read_journal(tmp_path)
