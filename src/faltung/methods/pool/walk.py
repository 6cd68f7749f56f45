"""From items of work to runs of targets, for kernels with vectors along the channels."""

from dataclasses import dataclass
from typing import Protocol

from faltung.codegen.ir import Function

POINTERS = ("source", "target", "index", "rows", "entries", "pieces", "segments")
WORDS = (
    *POINTERS,
    *("row_count", "piece_count", "block_count", "block", "channels"),
    *("source_sample", "target_sample", "source_pitch", "target_pitch"),
    *("source_step", "tap_step"),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Targets that are alike: pairs of where the first one is, and what the next one adds."""

    count: str
    target: tuple[str, str]
    source: tuple[str, str]
    tap: tuple[str, str]
    taps: str
    entries: tuple[str, str]
    divisor: str
    channel: str
    width: str


class Body(Protocol):
    """What is done along a run, for the channels of a block."""

    def segment(self, run: Segment) -> None:
        """All targets of a run."""


def words_of(f: Function) -> dict[str, str]:
    """The words of a step by their names."""
    return {
        name: f.pointer("%words", i) if name in POINTERS else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }


def walk(f: Function, word: dict[str, str], body: Body) -> None:
    """Items -> (sample, row, piece of the last axis, block of channels) -> segments."""
    with f.loop("%begin", "%end") as item:
        rest, block = f.divmod(item.index, word["block_count"])
        rest, piece = f.divmod(rest, word["piece_count"])
        sample, row = f.divmod(rest, word["row_count"])
        row_at = f.at(word["rows"], f.mul(row, 6), "i64")
        source, target, tap, first, stop, divisor = (f.word(row_at, i) for i in range(6))
        source = f.add(f.mul(sample, word["source_sample"]), source)
        target = f.add(f.mul(sample, word["target_sample"]), target)
        channel = f.mul(block, word["block"])
        last = f.value(f"icmp eq i64 {f.add(block, 1)}, {word['block_count']}")
        left = f.sub(word["channels"], channel)
        width = f.value(f"select i1 {last}, i64 {left}, i64 {word['block']}")
        piece_at = f.at(word["pieces"], f.mul(piece, 2), "i64")
        with f.loop(f.word(piece_at, 0), f.word(piece_at, 1)) as segment:
            at = f.at(word["segments"], f.mul(segment.index, 9), "i64")
            fields = [f.word(at, i) for i in range(9)]
            body.segment(
                Segment(
                    count=fields[2],
                    target=(f.add(target, fields[0]), fields[1]),
                    source=(f.add(source, fields[3]), fields[4]),
                    tap=(f.add(tap, fields[5]), fields[6]),
                    taps=fields[7],
                    entries=(first, stop),
                    divisor=f.mul(divisor, fields[8]),
                    channel=channel,
                    width=width,
                )
            )
