"""The profile of a model from elsewhere: that of its programs, and what is left for the host."""

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy.typing as npt

from faltung.onnx.gaps import title
from faltung.onnx.parts import Routine
from faltung.program.profile import Profile, Timed, profile


def profiled(
    run: Callable[[Mapping[str, npt.ArrayLike]], object],
    routine: Routine,
    inputs: Mapping[str, npt.ArrayLike],
    repeats: int,
) -> Profile:
    """Of a model that ``run`` runs with these inputs, by its routine."""
    run(inputs)
    whole = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        run(inputs)
        whole = min(whole, perf_counter() - start)
    rows: list[Timed] = []
    chains: list[str] = []
    compiled = 0.0
    for record in routine.records:
        if record.host:
            names = ", ".join(dict.fromkeys(title(call) for call, _ in record.host))
            rows.append(Timed("", "on the host", names, (), 0.0, 0, 0))
        program = record.program
        if program is not None and program.compiled is not None:
            found = profile(program.compiled.inference, repeats)
            compiled += found.seconds
            rows += found.rows
            chains += found.chains
    rows.append(Timed("", "host and copies", "", (), max(0.0, whole - compiled), 0, 0))
    return Profile(tuple(rows), whole, tuple(chains))
