"""A network from elsewhere as a layer: its nodes are text, so nothing else is needed to read it."""

from dataclasses import replace
from math import prod
from typing import Any, ClassVar

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.builder import Builder
from faltung.graph.sound import check_node
from faltung.graph.text import KEY, Step, Weight, in_dtype, network_of, with_outputs
from faltung.graph.value import Value
from faltung.nn.layer import Layer
from faltung.runtime.memory import require


@dataclass(frozen=True, slots=True, repr=False)
class GraphNet(Layer):
    """A network from another program, without its weights; ``faltung.torch.to_model`` makes one.

    Its layers have the names that they had there. Batch normalisation and dropout work as in
    training where the network is trained.

    Parameters
    ----------
    structure : str
        The nodes of the network as text.
    classes : int, optional
        Outputs of the last layer, by default as many as there were.

    References
    ----------
    J. Reed, Z. DeVito, H. He, A. Ussery, J. Ansel, *torch.fx: practical program capture and
    transformation for deep learning in Python*, MLSys 2022.
    """

    structure: str
    classes: int | None = None
    # At the top of a network the names of its layers are theirs alone.
    bare: ClassVar[bool] = True

    def build(self, b: Builder, x: Value) -> Value:
        network = network_of(self.structure)
        if self.classes is not None:
            network = with_outputs(network, whole("classes", self.classes, 1))
        x = b.settled(x)
        if x.shape != network.shape or (x.kind == "int") != network.tokens or x.samples != 1:
            kind = "tokens" if network.tokens else "numbers"
            raise FaltungError(f"input_shape={x.shape}: must be {network.shape} of {kind}")
        inner: dict[str, tuple[int, ...]] = {}
        known = [x]
        for weight in network.weights:
            known.append(_parameter(b, weight))
            inner[known[-1].name] = weight.inner
        for step in network.steps:
            known += _made(b, step, known, inner)
        return known[network.output]


def _parameter(b: Builder, weight: Weight) -> Value:
    *layers, name = weight.name.split(".")
    several = len(weight.inner) > 1
    require(8 * prod(weight.shape), f"structure: {weight.name!r}")
    with b.within(layers):
        return b.parameter(
            name,
            weight.shape,
            inner=weight.inner,
            order=weight.order,
            fan_in=prod(weight.inner[1:]) if several else 1,
            gain=1.0,
            initial="normal" if several else 0.0,
            decay=weight.trained and several,
            trained=weight.trained,
        )


def _made(
    b: Builder, step: Step, known: list[Value], inner: dict[str, tuple[int, ...]]
) -> tuple[Value, ...]:
    """The values that a node makes, once they are known to fit."""
    op: Any = in_dtype(step.op, b.dtype)
    with b.within(step.layer.split("."), step.kind):
        key = b.outside(f"key{len(known)}", kind="key")
        inputs = [key if number == KEY else known[number] for number in step.inputs]
        outputs = [Value("made", shape, samples=samples) for shape, samples in step.outputs]
        check_node(op, inputs, outputs, inner)
        if isinstance(op, ops.Dropout) and not b.training:
            return (inputs[0],)
        if isinstance(op, ops.Normalise) and op.over == "batch" and b.training:
            op = replace(op, training=True)
        shapes = [shape for shape, _ in step.outputs]
        (samples,) = {samples for _, samples in step.outputs}
        return b.nodes(op, inputs, *shapes, samples=samples)
