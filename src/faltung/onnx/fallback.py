"""Nodes that Faltung has no operator for, run by ONNX Runtime where that is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.onnx.knowledge import Knowledge
from faltung.onnx.read import Call
from faltung.onnx.schemas import node_of
from faltung.onnx.tensors import number_of
from faltung.runtime.threads import threads_to_use

Array = npt.NDArray[Any]

FALLBACKS = ("onnxruntime",)
# Sessions that are kept.
MOST_SESSIONS = 64


def checked(fallback: str | None) -> bool:
    """Whether there is a fallback. FaltungError: an unknown one. ImportError: not installed."""
    if fallback is None:
        return False
    if fallback not in FALLBACKS:
        raise FaltungError(f"fallback={show(fallback)}: must be None or 'onnxruntime'")
    try:
        import onnxruntime  # noqa: F401 - said at once, not in the middle of a run
    except ImportError as error:
        raise missing("onnxruntime", "onnxruntime") from error
    return True


def connected(knowledge: Knowledge, calls: Sequence[Call], ready: Sequence[Call]) -> list[Call]:
    """The nodes that are ready, and those for the same runtime that need nothing else."""
    group = list(ready)
    taken = {id(call) for call in ready}
    made = {name for call in ready for name in call.outputs if name}
    others = {name for call in calls if id(call) not in taken for name in call.outputs if name}
    for call in calls:
        if id(call) in taken or id(call) not in knowledge.foreign:
            continue
        if others.isdisjoint(knowledge.reads(call)):
            group.append(call)
            taken.add(id(call))
            names = {name for name in call.outputs if name}
            made |= names
            others -= names
    return group


def inputs_of(group: Sequence[Call]) -> list[str]:
    """What the nodes read that none of them makes."""
    made: set[str] = set()
    found: dict[str, None] = {}
    for call in group:
        for name in call.inputs:
            if name and name not in made:
                found[name] = None
        made.update(call.outputs)
    return list(found)


class Runtime:
    """Sessions of ONNX Runtime for groups of nodes, made when they are first needed."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._sessions: dict[Any, Any] = {}

    def run(
        self, group: Sequence[Call], inputs: Mapping[str, Array], known: Mapping[str, Array]
    ) -> dict[str, Array]:
        """All that the nodes make, by name. known: which of the inputs are constants."""
        fed = {name: x for name, x in inputs.items() if name not in known}
        fixed = {name: x for name, x in inputs.items() if name in known}
        names = list(dict.fromkeys(n for call in group for n in call.outputs if n))
        key = (
            *map(id, group),
            *((name, str(x.dtype), x.ndim) for name, x in fed.items()),
            *((name, id(x)) for name, x in fixed.items()),
        )
        found = self._sessions.get(key)
        if found is None:
            if len(self._sessions) >= MOST_SESSIONS:
                self._sessions.clear()
            found = self._sessions[key] = self._made(group, fed, fixed, names), fixed
        session, _ = found
        try:
            made = session.run(None, {f"i{n}": x for n, x in enumerate(fed.values())})
        except Exception as error:  # of onnxruntime, which has classes of its own
            raise FaltungError(f"onnxruntime: {_line(error)}") from None
        return {name: np.asarray(array) for name, array in zip(names, made, strict=True)}

    def _made(
        self,
        group: Sequence[Call],
        fed: Mapping[str, Array],
        fixed: Mapping[str, Array],
        names: Sequence[str],
    ) -> Any:
        import onnxruntime
        from onnx import helper, numpy_helper

        short = {name: f"i{n}" for n, name in enumerate(fed)}
        short |= {name: f"c{n}" for n, name in enumerate(fixed)}
        short |= {name: f"o{n}" for n, name in enumerate(names)}
        nodes = []
        for call in group:
            node = node_of(call)
            del node.input[:], node.output[:]
            node.input.extend(short[n] if n else "" for n in call.inputs)
            node.output.extend(short[n] if n else "" for n in call.outputs)
            nodes.append(node)
        infos = [
            helper.make_tensor_value_info(short[n], number_of(str(x.dtype)), [None] * x.ndim)
            for n, x in fed.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(short[name]) for name in names]
        domains = {call.domain: call.opset if not call.domain else 1 for call in group}
        model = helper.make_model(
            helper.make_graph(
                nodes,
                "part",
                infos,
                outputs,
                [numpy_helper.from_array(x, short[n]) for n, x in fixed.items()],
            ),
            opset_imports=[helper.make_opsetid(d, v) for d, v in domains.items()],
            ir_version=10,
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads_to_use()
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of onnxruntime, which has classes of its own
            raise FaltungError(f"onnxruntime cannot run it either: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
