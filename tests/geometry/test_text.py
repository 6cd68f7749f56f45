import pytest
from grid import examples, grid
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, Case, random_specs
from faltung.geometry import Axis, ConvSpec, conv_spec, parse


@grid(case=CASES, every=1)
def test_the_table_reads_back(case: Case) -> None:
    assert parse(str(case.spec)) == case.spec
    assert str(case.spec) == str(parse(str(case.spec)))


@given(random_specs(), st.randoms(use_true_random=False))
@examples(4)
def test_random_specs_read_back_in_any_order(spec: ConvSpec, random) -> None:  # type: ignore[no-untyped-def]
    words = str(spec).split()
    assert parse(" ".join(words)) == spec
    random.shuffle(words)
    assert parse("  ".join(words)) == spec


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("c3>64 224x224 k7x7 s2x2 p3 d1 g1 n1 f32", "n1 c3>64 224x224 k7 s2 p3"),
        ("c1>1 100 k5 psame", "n1 c1>1 100 k5 p2"),
        ("c1>1 100 k5 pcausal", "n1 c1>1 100 k5 p(4,0)"),
        ("c1>1 100 k5 pvalid", "n1 c1>1 100 k5"),
        ("c1>1 10x10 k4 s2 psame_upper", "n1 c1>1 10x10 k4 s2 p1"),
        ("c1>1 9x10 k4 s2 psame_lower", "n1 c1>1 9x10 k4 s2 p(2,1)x1"),
        ("c1>1 10x10 k3 pcausalxsame", "n1 c1>1 10x10 k3 p(2,0)x1"),
        ("c1>1 10x10 k3 p(1,1)x1", "n1 c1>1 10x10 k3 p1"),
        ("c1>1 10x10 k3 p(0,1)x(0,1)", "n1 c1>1 10x10 k3 p(0,1)x(0,1)"),
        ("c1>1 10x10 k3 p(0,1)x2", "n1 c1>1 10x10 k3 p(0,1)x2"),
        ("c1>1 10x10 k3 p0x0 m:zeros,zeros", "n1 c1>1 10x10 k3"),
        ("c1>1 10x10 k3 p1 m:circular,circular", "n1 c1>1 10x10 k3 p1 m:circular"),
        ("flip f64 m:zeros,reflect g2 d2x1 p1x2 s1x2 k3x5 9x9 c4>6 n0",
         "n0 c4>6 9x9 k3x5 s1x2 p1x2 d2x1 g2 m:zeros,reflect f64 flip"),
    ],
)  # fmt: skip
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


def test_the_line_of_the_readme() -> None:
    assert parse("n1 c3>64 224x224 k7 s2 p3") == conv_spec(
        (1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3
    )


def test_crops_print_but_may_not_be_asked_for() -> None:
    text = str(ConvSpec((Axis(9, 3, lo=-1, hi=-1), Axis(9, 3, lo=0, hi=-2)), 1, 1))
    assert text == "n1 c1>1 9x9 k3 p-1x(0,-2)"
    with pytest.raises(ValueError, match=r"'p-1x\(0,-2\)' means nothing"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no size"),
        ("n1 k3 9", "has no channels"),
        ("c1>1 9", "has no kernel"),
        ("c1>1 9 k3 banana", "'banana' means nothing"),
        ("c1>1 9 k3 K3", "'K3' means nothing"),
        ("c1>1 9 k3 k4", "'k4' gives the kernel twice"),
        ("c1>1 9 8 k3", "'8' gives the size twice"),
        ("c1 9 k3", "'c1' means nothing"),
        ("c1>1 9x k3", "'9x' means nothing"),
        ("c1>1 9 k3 p-1", "'p-1' means nothing"),
        ("c1>1 9 k3 p(1,2,3)", "'p(1,2,3)' means nothing"),
        ("c1>1 9 k3 pfull", "'pfull' means nothing"),
        ("c1>1 9 k3 f8", "'f8' means nothing"),
        ("c1>1 9 k3 s1.5", "'s1.5' means nothing"),
        ("c1>1 ٩ k3", "'٩' means nothing"),
        ("c1>1 9x9 k3x3x3", "kernel=(3, 3, 3): must be one int, or 2, one for each axis"),
        ("c1>1 9 k3 s0", "stride=0: every stride must be at least 1"),
        ("c1>1 9x9 k3 s1x2x3", "stride=(1, 2, 3): must be one int or 2"),
        ("c1>1 9x9 k3 p(0,1)", "padding=((0, 1),): must have one entry for each of the 2"),
        ("c1>1 9 k3 m:mirror", "padding_mode='mirror': must be one of"),
        ("c3>4 9 k3 g2", "groups=2: must divide the input channels, 3"),
        ("c3>4 9 k3 g3", "groups=3: must divide the output channels, 4"),
        ("c3>4 9 k3 g0", "groups=0: must"),
        ("c0>4 9 k3", "channels and sizes must be at least 1"),
        ("c1>1 9 k10", "kernel=10: must not be larger than the padded input"),
    ],
)
def test_nonsense_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_a_text() -> None:
    with pytest.raises(TypeError, match=r"^text=3: must be a str"):
        parse(3)  # type: ignore[arg-type]
