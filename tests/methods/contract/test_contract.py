"""Products over any axes against NumPy's einsum, with integers, so that results are exact."""

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, run, wide

from faltung.geometry.expr import maximum, operand
from faltung.jit.target import host
from faltung.machine.table import Machine, row
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Operand, Work
from faltung.methods.contract import contract as family
from faltung.methods.contract.axes import product, split
from faltung.methods.contract.contract import Operands, contract
from faltung.methods.contract.kernel import ContractKernel
from faltung.reference.contract import contract as meaning

Labels = tuple[str, str, str]
FORMS = [
    *("ij,jk->ik", "ij,kj->ik", "ji,jk->ik", "ij,jk->ki", "i,i->", "i,j->ij", "ij,j->i"),
    *("bij,bjk->bik", "bij,jk->bik", "ij,bjk->bik", "ijk,jkl->il", "abc,cd->abd", "ab,cd->ac"),
    *("slhd,smhd->shlm", "shlm,smhd->slhd", "shlm,shld->smhd", "slhd,slhm->shdm"),
    *("bmk,bnk->mnb", "kbm,knb->bnm", "abcd,abde->abce", "ab,ab->ab", "ii,ij->ij", ",->"),
    *("abcde,cfdb->aef", "sglrd,smgd->sglrm"),
]
SIZES = [1, 2, 3, 5, 8, 16, 17, 33, 49]


def labels_of(form: str) -> Labels:
    a, b, out = form.replace("->", ",").split(",")
    return a, b, out


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def whole(
    rng: np.random.Generator, shape: list[int], dtype: str, allocate: Allocate = anywhere
) -> np.ndarray:
    made = allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize).view(dtype).reshape(shape)
    made[...] = rng.integers(-3, 4, shape)
    return made


def computed(
    labels: Labels,
    sizes: dict[str, int],
    dtype: str,
    machine: Machine,
    *,
    threads: int = 2,
    allocate: Allocate = anywhere,
) -> tuple[np.ndarray, np.ndarray]:
    """What the kernels store, and what they should."""
    rng = np.random.default_rng(0)
    a, b, out = (whole(rng, [sizes[c] for c in own], dtype, allocate) for own in labels)
    out[...] = np.nan
    work = Work()
    p = product(labels, [strides_of(x.shape) for x in (a, b, out)], sizes)
    names = Operands(Operand("a"), Operand("b"), Operand("out"))
    assert contract(work, p, names, dtype=dtype, machine=machine) > 0
    run(work, machine, {"a": a, "b": b, "out": out}, threads, allocate)
    return out, meaning(labels, a, b, sizes)


@grid(form=FORMS, dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_forms(form: str, dtype: str, machine: Machine) -> None:
    labels = labels_of(form)
    rng = np.random.default_rng(len(form))
    for _ in range(4):
        sizes = {c: int(rng.choice(SIZES)) for c in sorted(set("".join(labels)))}
        while np.prod(list(sizes.values())) > 1e6:
            sizes = {c: (size + 1) // 2 for c, size in sizes.items()}
        got, want = computed(labels, sizes, dtype, machine)
        np.testing.assert_array_equal(got, want, err_msg=f"{form} {sizes}")


@st.composite
def problems(draw: st.DrawFn) -> tuple[Labels, dict[str, int]]:
    letters = "abcdef"[: draw(st.integers(1, 6))]
    a, b = (draw(st.lists(st.sampled_from(letters), max_size=4, unique=True)) for _ in "ab")
    used = sorted({*a, *b})
    out = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
    sizes = {c: draw(st.sampled_from([1, 2, 3, 7, 9])) for c in used}
    return ("".join(a), "".join(b), "".join(out)), sizes


@given(problems())
def test_any_labels(given: tuple[Labels, dict[str, int]]) -> None:
    """Also those that only one operand has, summed or not."""
    got, want = computed(*given, "float64", host())
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("form", ["slhd,smhd->shlm", "shlm,smhd->slhd", "km,kn->mn"])
def test_wide_vectors(form: str) -> None:
    labels = labels_of(form)
    sizes = dict.fromkeys("".join(labels), 2) | {"l": 49, "m": 37, "d": 19, "n": 50, "k": 9}
    got, want = computed(labels, sizes, "float32", wide())
    np.testing.assert_array_equal(got, want)


@between_fences(form=FORMS, every=6)
def test_nothing_outside_is_touched(form: str, side: str, machine: Machine) -> None:
    labels = labels_of(form)
    for size in (1, 5, 17):
        sizes = dict.fromkeys("".join(labels), min(size, 7) if len(set(form)) > 9 else size)
        got, want = computed(
            labels, sizes, "float32", machine, allocate=lambda n: fenced(n, side == "after")
        )
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("form", ["bij,bjk->bik", "bij,jk->bki", "abij,bjk->abik"])
def test_more_products_than_a_table_lists(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "MOST_LISTED", 3)
    sizes = dict.fromkeys("ijk", 3) | {"a": 2, "b": 9}
    got, want = computed(labels_of(form), sizes, "float64", host())
    np.testing.assert_array_equal(got, want)


def random_product(rows: int, threads: int = 2, start: int = 0) -> np.ndarray:
    """Rows ``start`` to ``start + rows`` of a product of random numbers."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((120, 37)).astype("float32")[start : start + rows].copy()
    b = rng.standard_normal((37, 70)).astype("float32")
    out = np.full((rows, 70), np.nan, "float32")
    work = Work()
    sizes = {"m": rows, "k": 37, "n": 70}
    p = product(("mk", "kn", "mn"), [(37, 1), (70, 1), (70, 1)], sizes)
    names = Operands(Operand("a"), Operand("b"), Operand("out"))
    contract(work, p, names, dtype="float32", machine=host())
    run(work, host(), {"a": a, "b": b, "out": out}, threads)
    return out


def test_the_same_bits() -> None:
    """For any number of threads, and of other rows beside a row."""
    whole = random_product(120)
    for threads in (1, 3, 7):
        assert random_product(120, threads).tobytes() == whole.tobytes()
    for start, rows in ((0, 1), (3, 2), (7, 20), (119, 1)):
        assert random_product(rows, start=start).tobytes() == whole[start : start + rows].tobytes()


@grid(machine=MACHINES, form=["bmk,bkn->bmn", "bmk,bkn->bnm", "bmk,bkn->mnb"])
def test_an_epilogue_reads_other_arrays(form: str, machine: Machine) -> None:
    """A map of the result's shape, and a vector that is the same for all rows."""
    labels = labels_of(form)
    sizes = {"b": 3, "m": 13, "k": 5, "n": 21}
    rng = np.random.default_rng(0)
    a, b, out = (whole(rng, [sizes[c] for c in own], "float64") for own in labels)
    full = whole(rng, list(out.shape), "float64")
    bias = whole(rng, [sizes[labels[2][-1]]], "float64")
    out[...] = np.nan
    strides = [strides_of(x.shape) for x in (a, b, out, full)]
    p = product((*labels, labels[2], labels[2]), [*strides, (0, 0, 1)], sizes)
    names = Operands(
        *(Operand("a"), Operand("b"), Operand("out")), (Operand("full"), Operand("bias"))
    )
    formula = maximum(operand(0) * 0.5 + operand(1) - operand(2), 1.0)
    work = Work()
    contract(work, p, names, dtype="float64", machine=machine, epilogue=Epilogue(formula, 2))
    run(work, machine, {"a": a, "b": b, "out": out, "full": full, "bias": bias})
    want = np.maximum(meaning(labels, a, b, sizes) * 0.5 + full - bias, 1.0)
    np.testing.assert_array_equal(out, want)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_split_is_a_view(sizes: list[int], data: st.DataObject) -> None:
    """Wherever it finds strides, they are those of NumPy's reshape."""
    order = data.draw(st.permutations(range(len(sizes))))
    pitch = data.draw(st.sampled_from([0, 3]))
    base = np.arange(np.prod([sizes[i] for i in order]) * (1 + pitch)).reshape(
        [*(sizes[i] for i in order[:-1]), -1]
    )[..., : sizes[order[-1]]]
    array = base.transpose(np.argsort(order))
    dims = []
    for size in sizes:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        first = data.draw(st.sampled_from(divisors))
        dims += [first, size // first]
    if data.draw(st.booleans()):
        dims = [int(np.prod(sizes))]
    found = split(sizes, [s // 8 for s in array.strides], dims)
    if found is None:
        assert len(dims) == 1
        return
    seen = np.lib.stride_tricks.as_strided(array, dims, [8 * s for s in found])
    np.testing.assert_array_equal(seen, array.reshape(dims))


@pytest.mark.parametrize(("columns", "vectors"), [(16, 2), (24, 3), (40, 3), (48, 2), (80, 2)])
def test_blocks_leave_no_few_sums_that_wait_for_each_other(columns: int, vectors: int) -> None:
    work = Work()
    sizes = {"m": 3136, "k": 144, "n": columns}
    found = product(["mk", "nk", "mn"], [(144, 1), (144, 1), (columns, 1)], sizes)
    arrays = Operands(Operand("x"), Operand("w"), Operand("out"))
    contract(work, found, arrays, dtype="float32", machine=row("avx2"))
    (kernel,) = (step.recipe for step in work.steps)
    assert isinstance(kernel, ContractKernel)
    assert kernel.vectors == vectors
