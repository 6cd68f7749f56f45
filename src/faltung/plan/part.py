"""Parts of a convolution, computed apart, with the bits of the whole.

A sum gives an output the same bits wherever it lies. A transform computes whole tiles: Winograd's
lie on a grid that begins with the first output, so a part that consists of whole tiles, cut as the
whole's are, has the same bits too. Fourier blocks and the halves of Strassen's algorithm are cut by
the size of the whole; no part has them.
"""

from dataclasses import replace

from faltung.geometry.conv import NARROW, ConvSpec
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.winograd.choice import choose as choose_winograd
from faltung.plan.choose import FORWARD, Policy, choose
from faltung.plan.complex import REAL


@dataclass(frozen=True, slots=True)
class Part:
    """How a part is computed. ``policy``: of its plan; ``grid``: outputs along each axis of which a
    part has whole ones, counted from the first output of the whole, or the last.
    """

    policy: Policy
    grid: tuple[int, ...]

    def outputs(self, axis: int, start: int, stop: int, output: int) -> tuple[int, int]:
        """What to compute for the outputs ``start`` .. ``stop - 1`` of an axis with ``output``."""
        step = self.grid[axis]
        if step == 1:
            return start, stop
        start, stop = start // step * step, min(-(-stop // step) * step, output)
        # A single output is an axis without tiles.
        return (start - step if stop - start == 1 and start else start), stop


def part_of(spec: ConvSpec, machine: Machine, policy: Policy) -> Part:
    """How parts of ``spec`` are computed, so that they have the bits that ``policy`` gives the
    whole. Where ``policy.method`` is "auto" and would take a transform that no part has, all are
    sums, with the bits of precision "strict".

    ValueError: ``policy.method`` does not apply.
    """
    ones = (1,) * spec.rank
    dtype = "float32" if spec.dtype in NARROW else REAL.get(spec.dtype, spec.dtype)
    one = replace(spec, dtype=dtype, batch=1)
    x, out = contiguous(one.input_shape, True), contiguous(one.output_shape, True)
    c = forward(one, x, contiguous(one.weight_shape, False), out)
    decision = choose(c, machine, replace(policy, tune=False))
    name = decision.best.name
    if not FORWARD[name].transform:
        # Measured are sums alone, so with either precision the bits stay those of a sum.
        sums = policy.method == "auto" and policy.precision != "strict"
        return Part(replace(policy, tune=policy.tune and not sums, sums=sums), ones)
    chosen = choose_winograd(decision.c, machine) if name == "winograd" else None
    if chosen is None:
        whole = policy.method == "auto"
        return Part(Policy("strict") if whole else replace(policy, tune=False), ones)
    sizes = iter(chosen.sizes)
    tiles = tuple(
        1 if window.pointwise and window.axis.size == 1 else next(sizes)[0] for window in c.windows
    )
    steps = tuple(
        tile * (axis.dilation if axis.kernel > 1 else 1)
        for tile, axis in zip(tiles, spec.axes, strict=True)
    )
    return Part(Policy(policy.precision, "winograd", tiles=tiles), steps)
