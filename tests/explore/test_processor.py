"""What the page says of a processor is what the plan does, and the code that it compiles."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from explore.lines import problem
from grid import CHOSEN

import faltung
from faltung.explore.builtin import explained
from faltung.explore.listing import MOST_LINES, listing
from faltung.explore.processor import processor
from faltung.geometry.errors import FaltungError
from faltung.jit.target import current
from faltung.machine.table import AVX2, AVX512, NEON, ROWS, SSE, Machine
from faltung.plan import plan_forward

BUILTIN = Path(__file__).parents[2] / "explorer/src/sections/processor_builtin.json"
MACHINES = [pytest.param(row, id=row.name) for row in (AVX512, AVX2, SSE, NEON)]


def test_builtin_is_current() -> None:
    """After a change of kernels: ``python -m faltung.explore.builtin explorer/src/sections``."""
    ours, theirs = json.loads(explained()), json.loads(BUILTIN.read_text("utf-8"))
    for one, other in zip(ours, theirs, strict=True):
        # Compilers of other versions write other lines for the same loop.
        assert {**one, "kernel": None} == {**other, "kernel": None}
        assert one["kernel"]["step"] == other["kernel"]["step"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("text", ["n1 c64>64 56x56 k3 p1", "c256>64 28x28 k1", "c3>8 20x20 k5 s2"])
def test_the_method_is_the_plans(text: str, machine: Machine) -> None:
    spec = faltung.parse(text)
    found = processor(spec, machine=machine)
    chosen = plan_forward(spec, machine=machine, channels_last=True).reasons[0][1]
    assert [each["name"] for each in found["methods"]] == [each.name for each in chosen]
    assert found["methods"][0]["why"] is None
    assert all(each["why"] for each in found["methods"][1:])
    assert found["methods"][0]["ns"] == chosen[0].ns
    for curve in found["curves"]:
        place = curve["at"].index(curve["now"]) if curve["now"] in curve["at"] else None
        if place is not None and curve["along"] == "kernel":
            assert curve["chosen"][place] == chosen[0].name


@pytest.mark.parametrize("machine", MACHINES)
def test_the_loop_fills_the_tile(machine: Machine) -> None:
    """Rows times vectors of sums, each with one multiply-add for each channel that is unrolled."""
    found = processor(faltung.parse("c64>64 30x30 k3 s2"), machine=machine)["kernel"]
    vectors, rows = map(int, re.match(r"direct (\d+)x(\d+)", found["step"]).groups())  # type: ignore[union-attr]
    adds = found["counts"]["fma"] if machine.fma else found["counts"]["add"]
    assert adds > 0 and adds % (vectors * rows) == 0
    if machine.fma:
        # Some more where a sum moves from one register to another in the loop.
        assert vectors * rows <= len(found["accumulators"]) <= vectors * rows + 2
        assert found["counts"]["multiply"] == 0
    lanes = machine.lanes("float32")
    assert found["flops"] == 2 * adds * lanes
    lines = found["lines"][slice(*found["loop"])]
    written = {line[2] for line in lines if line[1] in ("fma", "add")}
    assert set(found["accumulators"]) <= written
    assert max(found["accumulators"]) < machine.registers


def test_any_problem() -> None:
    draw = random.Random(CHOSEN.seed)
    for _ in range(12):
        spec = problem(draw)
        found = processor(spec, machine=draw.choice([*ROWS[:4], current()]))
        assert json.loads(json.dumps(found, allow_nan=False)) == found, spec


def test_only_this_computer_is_measured() -> None:
    spec = faltung.parse("c4>4 8x8 k3")
    found = processor(spec, measured=True)["measured"]
    assert found["calls"] >= 3 and 0 < found["ns"] < 1e9
    other = next(row for row in ROWS if row != current())
    with pytest.raises(FaltungError, match=r"machine='.*': is not this computer"):
        processor(spec, machine=other, measured=True)


LOOPS = """
start:
        xorl %eax, %eax
.LBB0_1:
        movq $0, %rcx
.LBB0_2:
        vmovups (%rsi), %ymm2
        vbroadcastss (%rdi), %ymm3
        vfmadd231ps %ymm2, %ymm3, %ymm0
        vfmadd231ps 32(%rsi), %ymm3, %ymm1
        jne .LBB0_2
        vmovups %ymm0, (%rdx)
        jl .LBB0_1
        retq
"""


def test_the_inner_loop_is_found() -> None:
    found = listing(LOOPS, "x86_64")
    assert [line.kind for line in found.lines[slice(*found.loop)]] == [
        *("label", "load", "broadcast", "fma", "fma", "jump")
    ]
    assert found.accumulators == (0, 1)
    assert [line.memory for line in found.lines if line.kind == "fma"] == [False, True]


@pytest.mark.parametrize("text", ["", "retq", ".Lx:\n jmp .Lx", "a" * 10_000, "\n".join("b" * 900)])
def test_no_loop_is_none(text: str) -> None:
    found = listing(text, "x86_64")
    assert found.loop == (0, 0) and found.accumulators == () and len(found.lines) <= MOST_LINES


# In a browser -------------------------------------------------------------------------------------


def test_through_the_loop_by_keyboard(opener: Any) -> None:
    page = opener(viewport={"width": 360, "height": 800}, color_scheme="dark")
    section = page.locator("#processor")
    section.scroll_into_view_if_needed()
    page.get_by_label("one instruction on").focus()
    total = json.loads(BUILTIN.read_text("utf-8"))[0]["kernel"]
    steps = sum(line[1] not in ("label", "other") for line in total["lines"][slice(*total["loop"])])
    for _ in range(steps):
        page.keyboard.press("Enter")
    assert section.locator(".registers .sum .count").all_inner_texts() == (
        ["1"] * len(total["accumulators"])
    )
    assert section.locator(".assembly .runs").count() == 1
    assert "Pass 1" in section.locator(".now").inner_text()
    page.keyboard.press("Enter")
    assert "Pass 2" in section.locator(".now").inner_text()
    page.get_by_text("From the start").click()
    assert section.locator(".assembly .runs").count() == 0

    curves = section.locator(".curves path")
    before = curves.count()
    section.locator(".legend input").first.press("Space")
    assert curves.count() < before
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    section.get_by_label("Explained").select_option("3")
    assert "direct" in section.locator("h3 + p b").first.inner_text()
    assert page.said == []
    page.context.close()
