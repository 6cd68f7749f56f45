"""Convolutions of parts: where a part has to begin and end to have the bits of the whole.

A plain sum has the same bits wherever it is. Winograd's tiles do not: an output is rounded with
all that its tile reads. But which tiles are taken can be decided without the sizes of the map, and
parts that begin and end where tiles do have whole tiles alone. The blocks of Fourier transforms,
and the halves of Strassen's algorithm, reach across the whole map: parts do without.
"""

from dataclasses import replace

from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.winograd.choice import choose as tiles_of
from faltung.plan.choose import Policy, choose


def grid_of(spec: ConvSpec, machine: Machine, policy: Policy) -> tuple[int, ...]:
    """The multiples at which parts of the output of a convolution may begin and end, along each
    axis; they may also end where the map does.
    """
    x, out = (contiguous((1, *s[1:]), True) for s in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, True)
    c = replace(forward(replace(spec, batch=1), x, w, out), placed=True)
    if choose(c, machine, replace(policy, placed=True)).best.name != "winograd":
        return (1,) * spec.rank
    chosen = tiles_of(c, machine)
    assert chosen is not None
    pairs = zip(spec.axes, chosen.sizes, strict=True)
    return tuple(m * axis.dilation if r > 1 else 1 for axis, (m, r) in pairs)
