"""A network of PyTorch, exported to ONNX, run by Faltung, and compared with itself in float64."""

import io
import re
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.onnx import OnnxModel, load

OPSET = 17
# Errors below this share of the largest output are not told apart: float32 has no more digits.
LEAST = 6e-8


@dataclass(frozen=True)
class Compared:
    """What came out: largest errors against float64, relative to the largest number of an output;
    whether the first sample alone has the bits that it has in the batch; compiled parts; and the
    operators that ran on the host.
    """

    fast: float
    strict: float
    torch: float
    alone: bool
    parts: int
    host: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.fast / max(self.torch, LEAST)

    @property
    def strict_ratio(self) -> float:
        return self.strict / max(self.torch, LEAST)


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The network for inference. Where its numbers all start equal, as scales, shifts, running
    statistics and gates of layers do, they are made random, so that what they do is seen.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, numbers in [*module.named_parameters(), *module.named_buffers()]:
        if not numbers.is_floating_point() or not numbers.numel():
            continue
        if numbers.numel() > 1 and bool((numbers != numbers.flatten()[0]).any()):
            continue
        variance = name.endswith("running_var")
        positive = variance or (numbers.ndim == 1 and bool(numbers.flatten()[0] > 0))
        with torch.no_grad():
            if positive:
                numbers.uniform_(0.5, 1.5, generator=generator)
            elif not bool(torch.isinf(numbers).any()):
                numbers.normal_(0, 0.1, generator=generator)
    return module.eval()


def exported(module: nn.Module, inputs: Sequence[Tensor], path: str | None = None) -> bytes:
    """The network as an ONNX file whose batch is free; to a file where a path is given."""
    names = ["input"] if len(inputs) == 1 else [f"input{i}" for i in range(len(inputs))]
    outputs = [f"output{i}" for i in range(len(_listed(module(*inputs))))]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs),
            path or file,
            opset_version=OPSET,
            dynamo=False,
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: {0: "N"} for name in (*names, *outputs)},
        )
    return file.getvalue()


def random_inputs(shapes: Sequence[Sequence[int]], batch: int, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *shape, generator=generator) for shape in shapes]


def compared(
    module: nn.Module, shapes: Sequence[Sequence[int]], *, strict: bool = True
) -> Compared:
    """Export it, run it at batch 2 and 1, and compare.

    Parameters
    ----------
    module : nn.Module
        ``settled``.
    shapes : sequence of sequence of int
        Of its inputs, without the batch.
    strict : bool
        Whether plain sums of products are compared too; else its error is 0.
    """
    inputs = random_inputs(shapes, 2)
    data = exported(module, inputs)
    with torch.no_grad():
        single = _listed(module(*inputs))
        double = _listed(_doubled(module)(*(x.double() for x in inputs)))
    if not all(bool(torch.isfinite(numbers).all()) for numbers in double):
        raise ValueError("the network itself is not finite: its random weights are no test")
    model = load(data)
    names = [port.name for port in model.inputs]
    if len(names) != len(inputs):
        raise ValueError(f"the exporter kept only the inputs {', '.join(names)}")
    given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    both = model.run(given)
    one = model.run({name: x[:1] for name, x in given.items()})
    for ours, theirs in zip(both, single, strict=True):
        if ours.shape != tuple(theirs.shape):
            raise ValueError(f"shape {ours.shape}, PyTorch has {tuple(theirs.shape)}")
    plain = load(data, precision="strict").run(given) if strict else [x.numpy() for x in double]
    return Compared(
        _apart(both, double),
        _apart(plain, double),
        _apart([x.numpy() for x in single], double),
        all(np.array_equal(x[:1], y) for x, y in zip(both, one, strict=True)),
        *_parts(model),
    )


def _doubled(module: nn.Module) -> nn.Module:
    return deepcopy(module).double()


def _listed(made: Any) -> list[Tensor]:
    """The tensors of an output: of one, or of a tuple, list or dictionary of them."""
    if isinstance(made, Tensor):
        return [made]
    values = made.values() if isinstance(made, dict) else made
    return [x for value in values for x in _listed(value)]


def _apart(ours: Sequence[Any], double: Sequence[Tensor]) -> float:
    worst = 0.0
    for got, want in zip(ours, double, strict=True):
        exact = want.numpy()
        size = max(float(np.abs(exact).max(initial=0)), 1e-30)
        far = np.abs(got.astype(np.float64) - exact).max(initial=0) / size
        worst = max(worst, float("inf") if np.isnan(far) else float(far))
    return worst


def _parts(model: OnnxModel) -> tuple[int, list[str]]:
    """Compiled parts, and operators on the host, as ``explain`` says them."""
    text = model.explain()
    parts = len(re.findall(r"^ *part \d+, compiled", text, re.MULTILINE))
    host = re.findall(r"^ {4,}(\w+) \(node of", text, re.MULTILINE)
    return parts, sorted(set(host))
