"""Other sizes, from ATen: interpolation, pixels and channels shuffled, windows, grids of places."""

from collections.abc import Callable, Sequence
from math import prod

from faltung.geometry.grid import Sampling
from faltung.geometry.interpolate import interpolated
from faltung.geometry.resample import Table, selected
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_places import affine_grid, sampled
from faltung.graph.foreign_resample import resampled
from faltung.torch.arguments import Arguments
from faltung.torch.convolve import as_given, batched

Handler = Callable[[Arguments], Tensor]

SAMPLING = ("linear", "nearest", "cubic")
OUTSIDE = ("zeros", "border", "reflection")


def interpolation(mode: str, rank: int, antialias: bool = False) -> Handler:
    def made(a: Arguments) -> Tensor:
        x = a.floats("input" if a.call.overload == "vec" else "self")
        if x.rank != rank + 2:
            raise Unsaid(f"a tensor of {x.rank} axes where {rank} are space")
        corners = "align_corners" in a.call.given and a.flag("align_corners")
        scales = _scales(a, rank)
        output = _output(a, x.shape[2:], scales)
        tables = {}
        for i, (n, m, scale) in enumerate(zip(x.shape[2:], output, scales, strict=True)):
            tables[2 + i] = interpolated(
                mode, n, m, scale=scale, align_corners=corners, antialias=antialias
            )
        return resampled(a.f, x, tables)

    return made


def _scales(a: Arguments, rank: int) -> Sequence[float | None]:
    """The factors, where positions follow from these and not from the sizes."""
    if a.call.overload == "vec":
        found = a["scale_factors"] if a.has("scale_factors") else [None] * rank
    else:
        names = ("scales",) if rank == 1 else [f"scales_{axis}" for axis in "dhw"[-rank:]]
        found = [a[name] for name in names]
    if not all(x is None or isinstance(x, int | float) for x in found):
        raise Unsaid("scales that are computed")
    return [None if x is None or x <= 0 else float(x) for x in found]


def _output(a: Arguments, space: Shape, scales: Sequence[float | None]) -> Shape:
    """The new sizes; with factors alone those of the old sizes, rounded down."""
    if a.has("output_size"):
        return a.wholes("output_size", len(space))
    return tuple(int(n * (scale or 1.0)) for n, scale in zip(space, scales, strict=True))


# Pixels and channels ------------------------------------------------------------------------------


def pixel_shuffle(a: Arguments) -> Tensor:
    """(*, C r r, H, W) as (*, C, H r, W r)."""
    x, f, r = a.tensor("self"), a.f, a.whole("upscale_factor")
    *lead, channels, height, width = x.shape
    count = len(lead)
    parts = f.reshaped(x, (*lead, channels // (r * r), r, r, height, width))
    order = (*range(count + 1), *(count + i for i in (3, 1, 4, 2)))
    shape = (*lead, channels // (r * r), height * r, width * r)
    return f.reshaped(parts.transposed(order), shape)


def pixel_unshuffle(a: Arguments) -> Tensor:
    """The other way."""
    x, f, r = a.tensor("self"), a.f, a.whole("downscale_factor")
    *lead, channels, height, width = x.shape
    count = len(lead)
    parts = f.reshaped(x, (*lead, channels, height // r, r, width // r, r))
    order = (*range(count + 1), *(count + i for i in (2, 4, 1, 3)))
    shape = (*lead, channels * r * r, height // r, width // r)
    return f.reshaped(parts.transposed(order), shape)


def channel_shuffle(a: Arguments) -> Tensor:
    x, f, groups = a.tensor("self"), a.f, a.whole("groups")
    batch, channels, *space = x.shape
    parts = f.reshaped(x, (batch, groups, channels // groups, *space))
    return f.reshaped(parts.moved(1, 2), x.shape)


# Windows ------------------------------------------------------------------------------------------


def _windows(a: Arguments, space: Shape) -> tuple[list[Table], Shape, Shape]:
    """For each axis what the taps of all windows read, tap by tap; the kernel, and how many windows
    there are.
    """
    rank = len(space)
    kernel, stride, padding, dilation = (
        a.wholes(name, rank) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    counts = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(space, kernel, stride, padding, dilation, strict=True)
    )
    tables = []
    for n, k, s, p, d, m in zip(space, kernel, stride, padding, dilation, counts, strict=True):
        places = (o * s - p + t * d for t in range(k) for o in range(m))
        tables.append(selected(n, (i if 0 <= i < n else None for i in places)))
    return tables, kernel, counts


def im2col(a: Arguments) -> Tensor:
    """Windows (C, H, W) as columns (C kernel, windows)."""
    x, f = batched(a, a.floats("self"), 2), a.f
    batch, channels, *space = x.shape
    tables, kernel, counts = _windows(a, tuple(space))
    f.require(batch * channels * prod(kernel) * prod(counts))
    read = resampled(f, x, {2: tables[0], 3: tables[1]})
    sizes = [n for pair in zip(kernel, counts, strict=True) for n in pair]
    parts = f.reshaped(read, (batch, channels, *sizes)).transposed((0, 1, 2, 4, 3, 5))
    columns = f.reshaped(parts, (batch, channels * prod(kernel), prod(counts)))
    return as_given(a, columns, 2, "self")


def col2im(a: Arguments) -> Tensor:
    """The sums of columns where their windows lie: the adjoint."""
    x, f = batched(a, a.floats("self"), 1), a.f
    tables, kernel, counts = _windows(a, a.wholes("output_size", 2))
    batch, channels = x.shape[0], x.shape[1] // prod(kernel)
    parts = f.reshaped(x, (batch, channels, *kernel, *counts)).transposed((0, 1, 2, 4, 3, 5))
    sizes = [k * n for k, n in zip(kernel, counts, strict=True)]
    whole = f.reshaped(parts, (batch, channels, *sizes))
    made = resampled(f, whole, {2: tables[0].transposed, 3: tables[1].transposed})
    return as_given(a, made, 1, "self")


# Places -------------------------------------------------------------------------------------------


def grid_sampler(a: Arguments) -> Tensor:
    x, grid = a.floats("input"), a.floats("grid")
    how = Sampling(
        SAMPLING[a.whole("interpolation_mode")],
        OUTSIDE[a.whole("padding_mode")],
        a.flag("align_corners"),
    )
    how.check(x.rank - 2)
    return sampled(a.f, x, grid, how)


def affine_grid_generator(a: Arguments) -> Tensor:
    size = a.wholes("size")
    return affine_grid(a.f, a.floats("theta"), size[2:], a.flag("align_corners"))


TABLE: dict[str, Handler] = {
    "upsample_linear1d": interpolation("linear", 1),
    "upsample_bilinear2d": interpolation("linear", 2),
    "upsample_trilinear3d": interpolation("linear", 3),
    "upsample_bicubic2d": interpolation("cubic", 2),
    "_upsample_bilinear2d_aa": interpolation("linear", 2, antialias=True),
    "_upsample_bicubic2d_aa": interpolation("cubic", 2, antialias=True),
    **{f"upsample_nearest{rank}d": interpolation("nearest", rank) for rank in (1, 2, 3)},
    **{
        f"_upsample_nearest_exact{rank}d": interpolation("nearest-exact", rank)
        for rank in (1, 2, 3)
    },
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "channel_shuffle": channel_shuffle,
    "native_channel_shuffle": channel_shuffle,
    "im2col": im2col,
    "col2im": col2im,
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sampler),
    "affine_grid_generator": affine_grid_generator,
}
# Those that read (samples, C, *space).
SPATIAL = frozenset(TABLE) - {"col2im", "affine_grid_generator"}
