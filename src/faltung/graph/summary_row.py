"""One layer of a network on paper."""

from functools import lru_cache
from math import prod
from typing import Any

from faltung.geometry.conv import ITEMSIZE, ConvSpec
from faltung.geometry.errors import FaltungMemoryError
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass

Spec = ConvSpec | PoolSpec


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer. Shapes without the batch, costs for one sample.

    kind: as ``faltung.nn`` calls it; "Add" is the sum of a ``Residual``, "Concat" what a
    ``Parallel`` joins. spec: of a convolution or a pooling, with the padding that is used. field:
    the entries of the input that a unit sees along each axis; None once positions are gone.
    parameters: trained ones. kept: others, running statistics. bytes: of the output. follows: it
    only changes the output of the layer before it, as an activation does.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    spec: Spec | None
    field: tuple[int, ...] | None
    parameters: int
    kept: int
    macs: int
    bytes: int
    follows: bool

    @property
    def method(self) -> str | None:
        """How the engine would compute a convolution, on this machine, for one sample."""
        if not isinstance(self.spec, ConvSpec):
            return None
        return "local" if self.kind == "Local" else method(self.spec, self.kind == "ConvTranspose")

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON; numbers of a convolution or a pooling are given per axis."""
        made: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "output": list(self.output),
            "receptive_field": None if self.field is None else list(self.field),
            "parameters": self.parameters,
            "statistics": self.kept,
            "macs": self.macs,
            "bytes": self.bytes,
        }
        if self.spec is not None:
            for name in ("kernel", "stride", "dilation"):
                made[name] = list(getattr(self.spec, name))
            made["padding"] = [list(pair) for pair in self.spec.padding]
        if isinstance(self.spec, ConvSpec):
            made["padding_mode"] = list(self.spec.padding_mode)
            made["groups"] = self.spec.groups
            made["method"] = self.method
        return made


def _elements(spec: ConvSpec) -> int:
    """Numbers of the input, the weight and the output of a convolution."""
    return prod(spec.input_shape) + prod(spec.weight_shape) + prod(spec.output_shape)


@lru_cache(maxsize=4096)
def method(spec: ConvSpec, transposed: bool = False) -> str:
    """The method that the policy chooses, for arrays with channels last, as in a program."""
    # Planning loads the compiler: it is imported only when somebody asks for the method.
    from faltung.plan import plan_forward, plan_input_grad
    from faltung.runtime.memory import require

    try:  # a plan has tables of its own, so none is made where the layer alone is too large
        require(_elements(spec) * ITEMSIZE[spec.dtype], "layer")
    except FaltungMemoryError:
        return "too large"
    plan = (
        plan_input_grad(spec, channels_last=True, packs=False)
        if transposed
        else plan_forward(spec, channels_last=True)
    )
    names = dict.fromkeys(candidates[0].name for _, candidates in plan.reasons)
    return ", ".join(names)
