"""`faltung explain`: the numbers, the plan, the code, and what it says of nonsense."""

import json

import pytest

from faltung.cli.conv_facts import facts, formula, page
from faltung.cli.explain import DIRECTIONS
from faltung.cli.main import main
from faltung.geometry import Axis, parse
from faltung.jit.target import host
from faltung.machine.table import BASELINES, GENERIC

STEM = "n1 c3>64 224x224 k7 s2 p3"
SPECS = (
    STEM,
    "n0 c1>1 5 k3",
    "c1>1 1000000 k101 f64 flip",
    "n8 c64>64 32x32x32 k3 psame m:zeros,zeros,circular",
    "n16 c1024>1024 512x512 k31 s2x1 d3 g2 p(0,45)x(45,0)",
    "c8>8 5x5x5x5 k2",
)


def explain(*words: str) -> int:
    return main(["explain", *words])


def test_stem_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(STEM) == 0
    shown = capsys.readouterr().out
    for part in (
        "floor((H - d(h-1) - 1 + p_lo + p_hi) / s) + 1",
        "floor((224 - 1*(7-1) - 1 + 3 + 3) / 2) + 1 = 112",
        "(1, 64, 112, 112)",
        "120,846,286,848  12,845,056 x",
        "118,013,952      12,544 x",
        "9,408           1 x",
        "118,013,952  multiply-adds",
        "236,027,904  2 per MAC",
        "Plan: forward, arrays (N, *space, C)",
    ):
        assert part in shown


@pytest.mark.parametrize("text", SPECS)
def test_pages_fit_a_terminal(text: str) -> None:
    lines = list(page(parse(text)))
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("text", SPECS)
def test_facts_are_those_of_the_spec(text: str) -> None:
    spec = parse(text)
    found = json.loads(json.dumps(facts(spec)))
    assert parse(found["spec"]) == spec
    assert tuple(found["output_shape"]) == spec.output_shape
    assert found["flops"] == 2 * found["macs"] == spec.flops
    assert found["parameters"]["convolution"] == spec.weight_parameters


def test_formula_is_true_arithmetic() -> None:
    for size in range(5, 12):
        for stride in (1, 2, 3):
            axis = Axis(size, 3, stride, 2, 1, 2)
            words, result = formula(axis).removeprefix("floor").split(" + 1 = ")
            assert eval(words.replace("/", "//")) + 1 == int(result) == axis.output


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layout", [[], ["--channels-first"]])
def test_every_direction_has_a_plan(
    direction: str, layout: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("n2 c8>16 14x14 k3 s2 p1", "--direction", direction, *layout) == 0
    head, _, plan = capsys.readouterr().out.partition(f"Plan: {direction}, arrays ")
    assert head and plan.count("\n") > 1
    assert max(map(len, plan.splitlines())) <= 80


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("c16>16 9x9 k3", "--json", "--llvm", "--asm") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output_shape"] == [1, 16, 7, 7]
    assert found["plan"] and found["direction"] == "forward" and found["layout"] == "channels-last"
    assert all("define" in text for text in found["llvm"])
    assert len(found["llvm"]) == len(found["assembly"]) > 0


def test_code_alone_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("c16>16 9x9 k3", "--llvm") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("; ") and "define void @" in shown and "Cost" not in shown
    assert explain("c16>16 9x9 k3", "--asm") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# ") and "ret" in shown and "Cost" not in shown


def test_machine_is_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Baselines run on every processor of their architecture; elsewhere they are refused."""
    base = BASELINES.get(host().arch, GENERIC)
    other = next(row for row in BASELINES.values() if row is not base)
    assert explain("c64>64 14x14 k3", "--machine", base.name, "--asm") == 0
    shown = capsys.readouterr().out
    assert "ymm" not in shown and "zmm" not in shown
    assert explain("c64>64 14x14 k3", "--machine", other.name, "--asm") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["c3>64 224x224 k7 w2"], "'w2'"),
        (["c3>64 224x224"], "kernel"),
        (["c3>64 4x4 k7"], "kernel=7"),
        (["c3>64 224x224 k7 s0"], "stride"),
        (["c3>64 9x9 k3 g2"], "groups=2"),
        (["c3>64 9x9 k3 m:mirror"], "mirror"),
        (["c3", "9x9", "k3"], "quotes"),
        ([""], "size"),
        (["c3>64 9x9 k3", "--machine", "abacus"], "abacus"),
    ],
)
def test_nonsense_gets_one_line(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("faltung explain: ") and shown.err.count("\n") == 1
    assert part in shown.err


@pytest.mark.parametrize(
    "words", [[], ["c1>1 9 k3", "--direction", "sideways"], ["c1>1 9 k3", "-q"]]
)
def test_bad_options_get_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        explain(*words)
    assert end.value.code == 2


def test_a_network_is_explained_as_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("mobilenet_v2", "--batch", "8") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("54 layers, batch 8, ")
    chains = [line for line in lines if line.startswith("├─ chain ")]
    assert any("block2_1.expand + 2: in bands of " in line for line in chains)
    assert all(" between layers in " in line and " -> " in line for line in chains)
    assert lines[-1].startswith("└─ alone: ")


def test_a_layer_in_8_bits(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("n1 c64>64 9x9 k1", "--integers", "--machine", host().name) == 0
    shown = capsys.readouterr().out
    assert "forward: integer, " in shown and ", to uint8" in shown
    assert explain("n1 c64>64 9x9 k1", "--integers", "--direction", "input-grad") == 2
    assert "--integers" in capsys.readouterr().err
