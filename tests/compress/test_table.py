"""What is shown of a walk: the table, the CSV, the picture, the page."""

import csv
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from compress.test_recipe import FIRST, SCORE

from faltung.compress.budget import Budget
from faltung.compress.end import End, end_of
from faltung.compress.journal import Step
from faltung.compress.page import page
from faltung.compress.picture import Dot, scatter, short
from faltung.compress.table import as_csv, duration, points, rows, share, step_line
from faltung.geometry.errors import FaltungError

ENTRIES = (
    FIRST,
    replace(FIRST, step=Step("prune", 0, 0.3, 5), bytes=50_000, ms={"1": (0.5, 1), "2": (0.4, 1)}),
    replace(FIRST, step=Step("prune", 1, 0.3, 5), changed=False, said="nothing to do"),
    replace(
        FIRST,
        step=Step("quantise", 1, 8),
        bytes=12_345,
        choose=replace(SCORE, lost=2.0),
        left=("a<b>: has no <weights>",),
        said="8 bits, <i>",
    ),
)
BUDGET = Budget(drop=0.5)


def test_rows() -> None:
    made = rows(ENTRIES, BUDGET, 1)
    assert [(row.number, row.step, row.within, row.chosen) for row in made] == [
        (0, "as trained", True, False),
        (1, "prune", True, True),
        (3, "prune, quantise 8", False, False),
    ]
    assert made[1].times == ("0.5 ms", "0.4 ms") and made[0].times == ("1 ms", "-")
    assert made[2].lost == "2.00" and made[2].reported == "0.00 (-1.00 to 1.00)"
    assert made[2].bytes == "12,345" and made[0].value == "90.00%"


def test_csv_has_what_was_measured() -> None:
    made = list(csv.DictReader(as_csv(ENTRIES, BUDGET, 1).splitlines()))
    assert [line["number"] for line in made] == ["0", "1", "3"]
    assert [line["chosen"] for line in made] == ["0", "1", "0"]
    assert float(made[2]["choose_lost"]) == 2.0 and made[2]["left"] == "a<b>: has no <weights>"
    assert (made[0]["ms_1"], made[0]["ms_2"], made[1]["ms_2"]) == ("1", "", "0.4")


def test_lines() -> None:
    assert step_line(ENTRIES, 1).endswith("prune")
    assert step_line(ENTRIES, 2).endswith("prune, prune: nothing to do")
    assert (points(-0.004), points(1.234), share(0.98765)) == ("0.00", "1.23", "98.77%")
    assert [duration(v) for v in (1.2345, 0.1, 0.0123)] == ["1.23 ms", "0.1 ms", "12.3 µs"]
    assert [short(v) for v in (0.0213, 999, 1500, 2_000_000)] == ["0.0213", "999", "1.5k", "2M"]


def test_the_end() -> None:
    found = end_of(ENTRIES, BUDGET)
    assert found.chosen == 1 and "step 1 is the smallest of the 2 of 3" in found.why
    none = end_of(ENTRIES, Budget(bytes=10))
    assert none.chosen is None and none.nearest == 3
    assert "nearest is step 3, prune, quantise 8: 12,345 bytes, 2.00 points lost" in none.why
    assert End.from_dict(none.as_dict(), 4) == none
    for wrong in ({}, {"chosen": 7, "nearest": 0, "why": ""}, {"chosen": None, "nearest": 0}):
        with pytest.raises(FaltungError):
            End.from_dict(wrong, 4)


def test_a_picture_is_xml_with_a_dot_for_each_step() -> None:
    dots = [Dot(10.0 * n, 0.9, 0.8, 1.0, n % 2, f"<{n}>", n > 1) for n in range(1, 5)]
    tree = ElementTree.fromstring(scatter("accuracy", "bytes", ["a", "b"], dots, share, 2))
    circles = [each for each in tree.iter() if each.tag == "circle"]
    assert len(circles) == 4 + 2 + 1  # dots, legend, ring
    assert [each.get("class") for each in circles].count("mark") == 1
    inside = [float(each.get("cx", "0")) for each in circles]
    assert all(0 < at < 420 for at in inside)


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_equal_dots(count: int) -> None:
    ElementTree.fromstring(
        scatter("x", "y", ["a"], [Dot(5.0, 0.9, 0.9, 0.9, 0, "", True)] * count, share, None)
    )


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("end", [None, end_of(ENTRIES, BUDGET), end_of(ENTRIES, Budget(bytes=10))])
def test_the_page_is_whole_and_loads_nothing(end: End | None, loss: str) -> None:
    made = page("a<b>", ENTRIES, BUDGET, end, loss, "10 train")
    assert made.count("<svg") == made.count("</svg>") == 2
    assert "a&lt;b&gt;" in made and "<i>" not in made
    assert not re.search(r"(src|href)=\"(?!data:)", made)
    assert "no &lt;weights&gt;" in made
    assert made == page("a<b>", ENTRIES, BUDGET, end, loss, "10 train")
