"""The input gradient of a depthwise layer with a stride of two, in one pass.

Its phases are layers of their own: for a 3x3 kernel of one, two, two and four taps, each of which
would write a quarter of the positions and read all gradients. Here a tile has neighbouring
positions of both phases; taps that meet none of the gradients are not in the code (along the last
axis) or in no table (along the others), as if zeros were between the gradients
(``Window.every``). So each row is written as a whole, and each gradient read once for all phases.
Sums take their taps in the same order as those of the phases.
"""

from faltung.geometry.adjoint import Phase
from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.grouped import planes
from faltung.methods.grouped.choice import Blocks, groups_per_vector

# Longer kernels have so much to do in each phase that nothing is to be gained, and transforms.
MAX_KERNEL = 7


def concerns(spec: ConvSpec, phases: tuple[Phase, ...]) -> bool:
    """Whether ``spec`` is such a layer."""
    depthwise = spec.groups > 1 and spec.channels_in == spec.groups == spec.channels_out
    fitting = all(
        axis.stride <= 2 and axis.dilation == 1 and axis.kernel <= MAX_KERNEL for axis in spec.axes
    )
    return depthwise and fitting and len(phases) > 1 and all(each.spec for each in phases)


def applies(c: Correlation, machine: Machine) -> bool:
    """Whether channels or positions are contiguous, and the code has room for the tiles."""
    count = groups_per_vector(c, machine)
    if not count:
        return planes.why_not(c, machine) is None
    return Blocks(c, machine, count).choose().unrolled
