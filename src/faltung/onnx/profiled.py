"""The profile of a model from elsewhere: that of its programs, and what is left for the host."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

import numpy.typing as npt

from faltung.graph.kinds import HOST
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
    programs = [
        record.program.compiled.inference
        for record in routine.records
        if record.program is not None and record.program.compiled is not None
    ]
    calls, parts = [], []
    for _ in range(repeats):  # in pairs, because clocks drift
        calls.append(_timed(lambda: run(inputs)))
        parts.append(sum(_timed(program.run) for program in programs))
    # Both differences are too large where a call was disturbed.
    besides = median(call - part for call, part in zip(calls, parts, strict=True))
    paired = median(call - part for call, part in zip(calls, parts, strict=True))
    besides = max(0.0, min(paired, min(calls) - min(parts)))
    rows: list[Timed] = []
    threads = 1
    chains: list[str] = []
    for record in routine.records:
        if record.host:
            names = ", ".join(dict.fromkeys(title(call) for call, _ in record.host))
            rows.append(Timed("", "on the host", names, (), 0.0, 0, 0, HOST))
        program = record.program
        if program is not None and program.compiled is not None:
            found = profile(program.compiled.inference, repeats)
            threads = max(threads, found.threads)
            rows += found.rows
            chains += found.chains
    rows.append(Timed("", "host and copies", "", (), besides, 0, 0, HOST))
    return Profile(tuple(rows), min(calls), threads, tuple(chains))


def _timed(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
