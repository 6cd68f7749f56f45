"""The gradient for the weight: exact in every order of its memory, stored at once where it can."""

from grid import MACHINES, grid
from methods.fused import ORDERS, check_weight

from cases import CASES, Case
from faltung.geometry import parse
from faltung.machine.table import Machine


@grid(case=CASES[::4], order=ORDERS, machine=MACHINES)
def test_table(case: Case, order: str, machine: Machine) -> None:
    for threads, last in ((1, True), (3, False)):
        check_weight(case.spec, last, order, machine, threads)


@grid(
    text=[
        "n2 c20>35 6x7 k3 p1",
        "n2 c3>16 9x9 k3",  # taps beside the channels in one tile
        "n2 c1>16 9x9 k3",
        "n2 c20>35 9 k2",
        "n2 c20>36 6x7 k3 p1 g2",
        "n3 c5>40 4x4 k3",
        "n300 c9>40 7x7 k3 p1",  # many bands, added where they belong
    ],
    machine=MACHINES,
)
def test_no_memory_and_no_copy_where_outputs_are_contiguous(text: str, machine: Machine) -> None:
    plan = check_weight(parse(text), True, "taps first", machine, 2)
    if " g2" not in text:
        assert plan.work.scratch == {}
        assert {step.recipe.symbol for step in plan.work.steps} == {"weight_grad_float32"}
    assert check_weight(parse(text), True, "plain", machine, 2).work.scratch


def test_tables_of_taps_that_fit_no_row(machine: Machine) -> None:
    """Taps and channels that are rows of one tile, but not of the weight: through other memory."""
    spec = parse("n2 c3>16 9x9 k3")
    assert check_weight(spec, True, "outputs first", machine, 2).work.scratch
