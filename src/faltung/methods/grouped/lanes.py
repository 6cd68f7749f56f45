"""Which input each lane reads, where several groups share a vector or positions have a stride."""

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


# Positions ----------------------------------------------------------------------------------------


def lane_order(v: Vectors) -> list[int]:
    """Which of every second element of two vectors each lane holds: those of each 128 bits of the
    one, then of the other.
    """
    part = max(1, min(v.lanes, 16 // v.bytes))
    order: list[int] = []
    for first in range(0, v.lanes, part):
        half = range(first // 2, first // 2 + part // 2)
        order += [*half, *(v.lanes // 2 + i for i in half)]
    return order


def every_second(v: Vectors, at: str, lanes: tuple[bool, ...] | None) -> str:
    """Every second element from ``at`` on, in that order; ``lanes``: as they are in memory, those
    that are read, None for all. Nothing is read behind the last of them.
    """
    read = lanes or (True,) * v.lanes
    wanted = [flag and not part for flag in read for part in range(2)][:-1]

    def load(begin: int) -> str:
        here = wanted[begin : begin + v.lanes]
        if not any(here):
            return v.zero
        return v.load(v.at(at, begin), v.mask(here) if lanes else None)

    # The second vector ends with the last element: it begins one earlier than the first one ends.
    places = [2 * i + (2 * i >= v.lanes) for i in lane_order(v)]
    return v.shuffle(load(0), load(v.lanes - 1), places)
