"""Faltung as a backend of ONNX, with the functions that ``onnx.backend`` asks for.

>>> import faltung.onnx.backend as backend
>>> backend.supports_device("CPU"), backend.supports_device("CUDA")
(True, False)
"""

from collections.abc import Sequence
from typing import Any

from faltung.formats.extras import missing
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.onnx.model import OnnxModel, load

try:
    from onnx.backend.base import Backend as _Backend
    from onnx.backend.base import BackendRep as _BackendRep
except ImportError as _error:
    raise missing("onnx", "onnx") from _error


class FaltungBackendRep(_BackendRep):
    """A model that ``prepare`` compiled."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, from inputs in the order of the model's, one array or several, or by name.
        FaltungError: as ``OnnxModel``.
        """
        names = [port.name for port in self.model.inputs]
        if isinstance(inputs, dict):
            return tuple(self.model.run(inputs))
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        if len(given) != len(names):
            raise FaltungError(f"inputs: there are {len(names)}, got {len(given)}")
        return tuple(self.model.run(dict(zip(names, given, strict=True))))


class FaltungBackend(_Backend):
    """What ``onnx.backend.test.BackendTest`` and others call."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether Faltung has all that the model needs, as far as its sizes are known."""
        try:
            cls.prepare(model, device)
        except FaltungError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> FaltungBackendRep:
        """A ModelProto, a path or bytes, ready to run. FaltungError: as ``load``."""
        if not cls.supports_device(device):
            raise FaltungError(f"device={device!r}: must be CPU")
        if hasattr(model, "SerializeToString"):
            model = model.SerializeToString()
        return FaltungBackendRep(load(model))

    @classmethod
    def run_model(
        cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of a model for these inputs."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node. outputs_info: for each output its dtype and shape."""
        import numpy as np
        from onnx import helper, shape_inference

        if not isinstance(inputs, list | tuple | dict):
            raise FaltungTypeError("inputs: must be a list of arrays, or arrays by name")
        names = [name for name in node.input if name]
        arrays = (
            [np.asarray(inputs[n]) for n in names]
            if isinstance(inputs, dict)
            else [np.asarray(x) for x in inputs]
        )
        if len(arrays) != len(names):
            raise FaltungError(f"inputs: there are {len(names)}, got {len(arrays)}")

        def info(name: str, dtype: Any, shape: Any) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            return helper.make_tensor_value_info(name, kind, shape)

        first = arrays[0].dtype if arrays else np.dtype("float32")
        told = [(np.dtype(d), s) for d, s in outputs_info] if outputs_info else []
        outputs = [
            info(name, *told[i]) if i < len(told) else helper.make_empty_tensor_value_info(name)
            for i, name in enumerate(node.output)
        ]
        graph = helper.make_graph(
            [node],
            "node",
            [info(n, a.dtype, a.shape) for n, a in zip(names, arrays, strict=True)],
            outputs,
        )
        opset = kwargs.get("opset_version")
        imports = [helper.make_opsetid("", opset)] if opset else None
        model = helper.make_model(graph, **({"opset_imports": imports} if imports else {}))
        if not told:  # the types follow from those of the inputs
            model = shape_inference.infer_shapes(model)
            for output in model.graph.output:
                if not output.type.tensor_type.elem_type:
                    output.CopyFrom(info(output.name, first, None))
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Faltung runs on processors."""
        return str(device).partition(":")[0].upper() == "CPU"


is_compatible = FaltungBackend.is_compatible
prepare = FaltungBackend.prepare
run_model = FaltungBackend.run_model
run_node = FaltungBackend.run_node
supports_device = FaltungBackend.supports_device
