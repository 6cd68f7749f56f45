"""Which input each lane reads where several groups share a vector, and how it gets there."""

from collections.abc import Sequence

from faltung.codegen.vectors import Vectors


def lanes_of(groups: int, inputs: int, outputs: int) -> tuple[tuple[int, ...], ...]:
    """For each input channel of a group the place that each lane reads in a block of ``groups``."""
    return tuple(
        tuple(g * inputs + ci for g in range(groups) for _ in range(outputs))
        for ci in range(inputs)
    )


def load_column(v: Vectors, every: Sequence[tuple[int, ...]], at: str, number: int) -> str:
    """The inputs of all lanes at one position: input channel ``number`` of each lane's group.

    ``every``: the places that lanes read, for each input channel.
    """
    lanes = every[number]
    if len(set(lanes)) == 1:
        return v.broadcast(v.at(at, lanes[0]))
    inputs = max(map(max, every)) + 1
    if inputs < v.lanes and not inputs & (inputs - 1):
        return _shuffled(v, v.short(inputs), v.load_short(at, inputs), "poison", lanes)
    low = v.load(at, v.first(inputs))
    if lanes == tuple(range(len(lanes))):
        return low
    if inputs <= v.lanes:
        return _shuffled(v, v.type, low, "poison", lanes)
    high = v.load(v.at(at, v.lanes), v.first(inputs - v.lanes))
    return _shuffled(v, v.type, low, high, lanes)


def _shuffled(v: Vectors, kind: str, low: str, high: str, lanes: tuple[int, ...]) -> str:
    # Lanes that are not there repeat the last.
    full = lanes + lanes[-1:] * (v.lanes - len(lanes))
    numbers = ", ".join(f"i32 {lane}" for lane in full)
    return v.function.value(
        f"shufflevector {kind} {low}, {kind} {high}, <{v.lanes} x i32> <{numbers}>"
    )
