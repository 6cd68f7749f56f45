"""Random calls of ``faltung.ndimage`` beside the same calls of SciPy.

``python tests/ndimage_random.py [COUNT [FIRST]]`` runs as many and says which differ.
"""

import sys
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MODES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant",
         "grid-wrap")  # fmt: skip
REAL = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
COMPLEX = ["complex64", "complex128"]
SHORT = REAL + ["float32", "float64", "uint8"] * 2  # what people have most

SUMS = ("correlate1d", "convolve1d", "correlate", "convolve", "gaussian_filter1d",
        "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude", "laplace", "sobel",
        "prewitt")  # fmt: skip
MEANS = ("uniform_filter1d", "uniform_filter")
EXTREMES = ("maximum_filter1d", "minimum_filter1d", "maximum_filter", "minimum_filter",
            "grey_dilation", "grey_erosion")  # fmt: skip
ALL = SUMS + MEANS + EXTREMES

# Of the largest number that a result could be: how far float32 and float64 may lie from SciPy's.
FLOAT32, FLOAT64 = 1e-6, 1e-14
MEANS_FLOAT64 = 1e-11  # SciPy's running sum keeps the rounding errors of all that it passed


@dataclass
class Call:
    """A function, its input and what else it is given."""

    name: str
    x: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    out: str = "none"  # none, dtype, array, in place
    dtype: str = ""

    def run(self, module: Any) -> Any:
        """With an array of its own as output, and as input where the result is written there."""
        x, more = self.x, dict(self.kwargs)
        if self.out == "dtype":
            more["output"] = np.dtype(self.dtype)
        elif self.out == "array":
            large = np.zeros((2 * x.shape[0], *x.shape[1:]), self.dtype)
            more["output"] = large[::2]
        elif self.out == "in place":
            x = x.copy()
            more["output"] = x
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = getattr(module, self.name)(x, *self.args, **more)
        assert "output" not in more or self.out == "dtype" or made is more["output"]
        return made

    def __str__(self) -> str:
        x = self.x
        return (
            f"{self.name}({x.dtype} {x.shape} strides {x.strides}, {self.args}, {self.kwargs}, "
            f"output {self.out} {self.dtype})"
        )


def random_call(seed: int, number: int) -> Call:
    """The call of this number."""
    rng = np.random.default_rng([seed, number])
    name = ALL[number % len(ALL)]
    kinds = SHORT if name in EXTREMES else SHORT + COMPLEX
    x = _array(rng, str(rng.choice(kinds)), name)
    call = Call(name, x)
    _arguments(rng, call)
    _output(rng, call)
    return call


def _array(rng: np.random.Generator, dtype: str, name: str) -> Any:
    """Of one to six axes, often strided."""
    along = name.endswith("1d") or name in ("sobel", "prewitt")
    ndim = int(
        rng.choice([1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6] if along else [0, 1, 2, 2, 2, 2, 3, 3, 4])
    )
    most = {0: 1, 1: 90, 2: 24, 3: 9, 4: 5, 5: 3, 6: 3}[ndim]
    shape = [int(rng.integers(1, most + 1)) for _ in range(ndim)]
    if ndim == 2 and rng.random() < 0.3:
        shape[int(rng.integers(2))] = int(rng.integers(30, 140))
    large = [2 * n for n in shape]
    values = _values(rng, dtype, tuple(large))
    if name in (*EXTREMES, *MEANS) and values.dtype.kind == "f":  # SciPy's depend on the place
        values = np.nan_to_num(values)
    index = []
    for n in shape:
        step = int(rng.choice([1, 1, 2, -1]))
        index.append(slice(n - 1, None, -1) if step < 0 else slice(0, step * n, step))
    x = values[tuple(index)]
    if rng.random() < 0.3:
        x = x.T
    if rng.random() < 0.4:
        x = np.ascontiguousarray(x)
    if rng.random() < 0.1 and x.flags.owndata:
        x.setflags(write=False)
    return x


def _values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Any:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -(2**40)), min(limits.max, 2**40)
        if rng.random() < 0.5:
            low, high = max(low, -100), min(high, 100)
        return rng.integers(low, high, shape, dtype, endpoint=True)
    made = rng.standard_normal(shape)
    if kind == "c":
        made = made + 1j * rng.standard_normal(shape)
    elif rng.random() < 0.08:
        made[rng.random(shape) < 0.02] = np.nan
    return made.astype(dtype)


def _arguments(rng: np.random.Generator, call: Call) -> None:
    name, ndim = call.name, call.x.ndim
    more = call.kwargs
    if rng.random() < 0.8:
        more["mode"] = str(rng.choice(MODES))
    if rng.random() < 0.6:
        whole = call.x.dtype.kind in "biu"
        more["cval"] = float(rng.integers(0, 2 if call.x.dtype == bool else 50) if whole
                             else rng.standard_normal())  # fmt: skip
        if call.x.dtype.kind == "c" and rng.random() < 0.5:
            more["cval"] += 2j
    if name.endswith("1d") or name in ("sobel", "prewitt"):
        if rng.random() < 0.7:
            more["axis"] = int(rng.integers(-ndim, ndim))
        count = 1
    else:
        count = ndim
        # Not all axes in another order, nor some of those of a magnitude: there SciPy does not do
        # what it says.
        if ndim > 1 and rng.random() < 0.3 and name != "gaussian_gradient_magnitude":
            count = int(rng.integers(1, ndim))
            more["axes"] = tuple(int(a) for a in rng.permutation(ndim)[:count])
        elif rng.random() < 0.2 and name not in ("correlate", "convolve", *EXTREMES):
            more["mode"] = [str(rng.choice(MODES)) for _ in range(ndim)]
    if name.startswith(("correlate", "convolve")):
        _weights(rng, call, count)
    elif name.startswith("gaussian"):
        _gaussian(rng, call, count)
    elif name in MEANS or name in EXTREMES:
        _window(rng, call, count)


def _weights(rng: np.random.Generator, call: Call, count: int) -> None:
    most = {0: 1, 1: 12, 2: 7, 3: 4}.get(count, 3)
    shape = tuple(int(rng.integers(1, most + 1)) for _ in range(count))
    if count == 1 and rng.random() < 0.05:
        shape = (int(rng.integers(100, 300)),)  # wider than the array
    made: Any = rng.standard_normal(shape)
    if rng.random() < 0.5 or call.x.dtype.kind in "iu":
        made = np.round(3 * made)
    if rng.random() < 0.3:
        made = np.where(rng.random(shape) < 0.4, 0.0, made)
    if rng.random() < 0.4:
        made = made + np.flip(made) if rng.random() < 0.7 else made - np.flip(made)
    if rng.random() < 0.1:
        made = made + 1j * rng.standard_normal(shape)
        if call.x.dtype.kind != "c":
            call.kwargs["cval"] = float(np.real(call.kwargs.get("cval", 0.0)))
    call.args = (
        made.astype(np.float32) if rng.random() < 0.2 and made.dtype.kind == "f" else made,
    )
    _origin(rng, call, list(shape))


def _origin(rng: np.random.Generator, call: Call, sizes: list[int]) -> None:
    if rng.random() < 0.4 and sizes:
        found = [int(rng.integers(-(n // 2), (n - 1) // 2 + 1)) for n in sizes]
        call.kwargs["origin"] = found[0] if call.name.endswith("1d") else found


def _gaussian(rng: np.random.Generator, call: Call, count: int) -> None:
    along = call.name.endswith("1d")
    sigma: Any = float(rng.uniform(0.3, 4.0))
    if not along and rng.random() < 0.4:
        sigma = [float(rng.choice([0.0, 0.6, 1.0, 2.5])) for _ in range(count)]
    call.args = (sigma,)
    if rng.random() < 0.3:
        call.kwargs["truncate"] = float(rng.uniform(1, 5))
    elif rng.random() < 0.2:
        call.kwargs["radius"] = int(rng.integers(0, 6))
    if call.name in ("gaussian_filter1d", "gaussian_filter") and rng.random() < 0.4:
        call.kwargs["order"] = int(rng.integers(0, 4))


def _window(rng: np.random.Generator, call: Call, count: int) -> None:
    sizes = [int(rng.integers(1, 9 if count < 3 else 4)) for _ in range(count)]
    if rng.random() < 0.1:
        sizes = [30] * count
    if call.name.endswith("1d"):
        call.args = (sizes[0],)
        _origin(rng, call, sizes[:1])
        return
    footprint = call.name not in MEANS and rng.random() < 0.5 and max(sizes, default=0) < 30
    if footprint:
        shape = rng.random(sizes) < 0.6
        flat = np.array(shape) if np.any(shape) else np.ones(sizes, bool)
        call.kwargs["footprint"] = flat
    else:
        call.kwargs["size"] = sizes
    _origin(rng, call, sizes)


def _output(rng: np.random.Generator, call: Call) -> None:
    kind = call.x.dtype.kind
    complex_result = kind == "c" or any(np.iscomplexobj(one) for one in call.args)
    chance = rng.random()
    if chance < 0.5:
        return
    if chance < 0.6 and not complex_result and call.x.ndim and call.name not in (
        "laplace", "gaussian_laplace", "gaussian_gradient_magnitude"  # SciPy reads what it wrote
    ):  # fmt: skip
        call.out = "in place"
        call.dtype = call.x.dtype.name
        return
    call.dtype = str(rng.choice(COMPLEX if complex_result else REAL))
    if call.name in (*EXTREMES, *MEANS) and not complex_result:
        call.dtype = str(rng.choice(["float64", "float32", call.x.dtype.name]))
    call.out = "array" if call.x.ndim and rng.random() < 0.5 else "dtype"


# Comparison ---------------------------------------------------------------------------------------


def difference(call: Call) -> str:
    """What differs from SciPy; "" for nothing."""
    from scipy import ndimage as theirs

    from faltung import ndimage as ours

    want = _tried(call, theirs)
    got = _tried(call, ours)
    if isinstance(want, Exception) or isinstance(got, Exception):
        if isinstance(want, Exception) and isinstance(got, Exception):
            bases = (RuntimeError, ValueError, TypeError)
            same = any(isinstance(want, b) and isinstance(got, b) for b in bases)
            return "" if same else f"{want!r} and {got!r}"
        return f"{_said(want)} and {_said(got)}"
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{want.dtype} {want.shape} and {got.dtype} {got.shape}"
    return _values_differ(call, want, got)


def _tried(call: Call, module: Any) -> Any:
    try:
        return call.run(module)
    except Exception as error:
        return error


def _said(made: Any) -> str:
    return repr(made) if isinstance(made, Exception) else "a result"


def _values_differ(call: Call, want: Any, got: Any) -> str:
    if want.dtype == bool:  # SciPy leaves other bytes than 0 and 1
        want = np.ascontiguousarray(want).view(np.uint8) != 0
        if not np.isin(np.ascontiguousarray(got).view(np.uint8), (0, 1)).all():
            return "bytes that are no bool"
    if want.dtype.kind == "c":
        real, imag = (_values_differ(call, part(want), part(got)) for part in (np.real, np.imag))
        return real or imag
    lost = np.isnan(want) if want.dtype.kind == "f" else np.zeros(want.shape, bool)
    if want.dtype.kind == "f" and not np.array_equal(lost, np.isnan(got)):
        return "other places of NaN"
    gap = np.abs(want.astype(np.float64) - got.astype(np.float64))[~lost]
    allowed = tolerance(call, want.dtype)
    worst = float(gap.max(initial=0.0))
    return f"off by {worst:.3g}, allowed {allowed:.3g}" if worst > allowed else ""


def tolerance(call: Call, dtype: Any) -> float:
    """How far results may lie apart."""
    if call.name in EXTREMES:
        return 0.0
    if dtype.kind in "biu":
        return float(call.x.ndim) if call.name in MEANS else 0.0
    scale = _scale(call)
    if call.name in MEANS:
        return scale * (FLOAT32 if dtype == np.float32 else MEANS_FLOAT64)
    single = np.dtype(dtype) == np.float32 or call.x.dtype in (np.float32, np.complex64)
    if single:
        return scale * FLOAT32
    return scale * FLOAT64 if call.name in ("correlate", "convolve") else 0.0


def _scale(call: Call) -> float:
    """The largest number that a sum could be: of all weights, in magnitude, times the largest
    entry.
    """
    from faltung.ndimage.calls import recipe_of
    from faltung.ndimage.reads import arguments
    from faltung.ndimage.recipe import Kernels, Lines

    finite = np.nan_to_num(np.abs(call.x).astype(np.float64))
    top = max(float(finite.max(initial=0.0)), abs(call.kwargs.get("cval", 0.0)), 1e-300)
    given, _ = arguments(call.name, call.args, call.kwargs)
    total = 0.0
    for parts in recipe_of(call.name, call.x.shape, call.x.dtype, given).passes:
        for part in parts:
            times = 1.0
            if isinstance(part.work, Lines):
                for line in part.work.lines:
                    times *= sum(map(abs, line.weights)) if line.weights else 1.0
            elif isinstance(part.work, Kernels):
                times = float(np.abs(part.work.kernels).sum())
            total += max(times, 1.0)
    return top * total


def main() -> int:
    count, first = (int(word) for word in (*sys.argv[1:], *("2000", "0")[len(sys.argv) - 1 :]))
    wrong = 0
    for number in range(first, first + count):
        call = random_call(0, number)
        found = difference(call)
        if found:
            wrong += 1
            print(number, found, call, flush=True)
    print(f"{count - wrong} of {count} as SciPy's")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
