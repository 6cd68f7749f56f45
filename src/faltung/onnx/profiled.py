"""The profile of a model from elsewhere: that of its programs, and what is left for the host."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy.typing as npt

from faltung.onnx.importer import title
from faltung.onnx.parts import Record
from faltung.program.profile import Profile, Timed, profile

if TYPE_CHECKING:
    from faltung.onnx.model import OnnxModel


def profiled(
    model: "OnnxModel", records: Sequence[Record], inputs: Mapping[str, npt.ArrayLike], repeats: int
) -> Profile:
    """Of what the last run did; ``inputs``: to run it as a whole."""
    model.run(inputs)
    whole = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        model.run(inputs)
        whole = min(whole, perf_counter() - start)
    rows: list[Timed] = []
    compiled = 0.0
    for record in list(records):
        if record.host:
            names = ", ".join(dict.fromkeys(title(call) for call, _ in record.host))
            rows.append(Timed("", "on the host", names, (), 0.0, 0, 0))
        program = record.program
        if program is not None and program.compiled is not None:
            found = profile(program.compiled.inference, repeats)
            compiled += found.seconds
            rows += found.rows
    rows.append(Timed("", "host and copies", "", (), max(0.0, whole - compiled), 0, 0))
    return Profile(tuple(rows), whole)
