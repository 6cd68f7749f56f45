"""Signals of one channel as plain sums: lanes a block apart, so that shifts are addresses.

What it is.  A stretch of the signal is turned so that its vectors hold entries that lie ``block``
  apart: lane ``l`` of vector ``m`` is entry ``l * block + m``. An output vector ``j`` at tap ``k``
  then reads vector ``j + k``: every vector that is loaded, aligned, serves four taps at once in
  registers, one load for three multiply-adds, where neighbouring lanes would need an unaligned load
  for each. Sums take their taps in order.
When it applies.  One axis, one input channel, stride 1, no dilation.
What it costs.  Near the peak of multiply-adds, and a turn of the signal on the way in and out.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import inf

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.moves import AUX, put_arguments, write_fill, write_put
from faltung.methods.base.parameters import Words, ordered
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Work, shifted

DTYPES = ("float32", "float64")
# Taps that one loaded vector serves.
TAPS = 4
# Entries of a lane's block, at the least and at the most.
BLOCKS = (32, 512)
# Stretches of units with scratch of their own.
SLOTS = 16
# Multiply-adds in a cycle that are reached; cycles to move a vector, and of a unit beside.
REACHED, MOVE, UNIT = 1.5, 4.0, 400

POINTERS = ("x", "w", "out", "bias", "scratch")
NUMBERS = (
    *("slots", "units", "chunks", "groups", "channels_out", "slot", "block", "rows", "lo", "size"),
    *("outputs", "taps", "w_group", "w_out", "w_tap", "x_batch", "x_group", "x_position"),
    *("out_batch", "out_group", "out_channel", "out_position"),
)


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signal:
    """Items are slots: stretches of units (sample, group, chunk of ``lanes * block`` outputs).

    ``near``: inputs are neighbours in memory; ``beside``: outputs; ``aux_contiguous``: likewise in
    each array of the epilogue.
    """

    dtype: str
    near: bool
    beside: bool
    bias: bool
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"signal_{self.dtype}"

    @property
    def pitch(self) -> int:
        return 1

    @property
    def pointers(self) -> tuple[str, ...]:
        return (*POINTERS, *(f"aux{i}" for i in range(len(self.aux_contiguous))))

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*NUMBERS, *(f"aux{i}{n}" for i in range(len(self.aux_contiguous)) for n in AUX[1:]))

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, self.near)
        write_put(module, machine, self)
        _turn(module, machine, self.dtype)
        _sums(module, machine, self.dtype)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        words = Words(f, (*self.pointers, *self.numbers))
        word = {name: words.pointer(name) for name in self.pointers}
        word |= {name: words.number(name) for name in self.numbers}
        v = Vectors(f, machine, self.dtype)
        with f.loop("%begin", "%end") as slot:
            first, stop = (
                f.divmod(f.mul(at, word["units"]), word["slots"])[0]
                for at in (slot.index, f.add(slot.index, 1))
            )
            scratch = v.at(word["scratch"], f.mul(slot.index, word["slot"]))
            with f.loop(first, stop) as unit:
                self._unit(v, word, scratch, unit.index)
        return str(module)

    def _unit(self, v: Vectors, word: dict[str, str], line: str, unit: str) -> None:
        f = v.function
        rest, chunk = f.divmod(unit, word["chunks"])
        batch, group = f.divmod(rest, word["groups"])
        size = f.mul(word["block"], v.lanes)
        start = f.mul(chunk, size)
        turned = v.at(line, _length(v, word))
        self._load(v, word, line, start, (batch, group))
        f.call(
            "turn", [("ptr", line), ("ptr", turned), ("i64", word["block"]), ("i64", word["rows"])]
        )
        count = f.minimum(size, f.sub(word["outputs"], start))
        arrays = ("out", *self.pointers[len(POINTERS) :])
        places = {}
        for name in arrays:
            at = f.add(f.mul(batch, word[f"{name}_batch"]), f.mul(group, word[f"{name}_group"]))
            places[name] = v.at(word[name], f.add(at, f.mul(start, word[f"{name}_position"])))
        with f.loop(0, word["channels_out"]) as co:
            at = f.add(f.mul(group, word["w_group"]), f.mul(co.index, word["w_out"]))
            given = [("ptr", turned), ("ptr", v.at(word["w"], at)), ("ptr", line)]
            given += [("i64", word[name]) for name in ("w_tap", "taps", "block")]
            f.call("sums", given)
            channel = f.add(f.mul(group, word["channels_out"]), co.index)
            here = {"from": line, "count": count, "far": "0", "bias": v.at(word["bias"], channel)}
            for name in arrays:
                here[name] = v.at(places[name], f.mul(co.index, word[f"{name}_channel"]))
                here[f"{name}_position"] = word[f"{name}_position"]
                here[f"{name}_channel"] = word[f"{name}_channel"]
            f.call(
                "put",
                [(kind, here[name]) for kind, name in put_arguments(len(self.aux_contiguous))],
            )

    def _load(
        self, v: Vectors, word: dict[str, str], line: str, start: str, where: tuple[str, str]
    ) -> None:
        """The inputs of a chunk in order, zeros outside the signal."""
        f = v.function
        length = _length(v, word)
        f.call("blank", [("ptr", line), ("i64", length)])
        first = f.sub(start, word["lo"])
        before = f.sub(0, f.minimum(0, first))
        count = f.sub(f.minimum(length, f.sub(word["size"], first)), before)
        at = f.add(f.mul(where[0], word["x_batch"]), f.mul(where[1], word["x_group"]))
        at = f.add(at, f.mul(f.add(first, before), word["x_position"]))
        given = [("ptr", v.at(line, before)), ("ptr", v.at(word["x"], at))]
        with f.when(f.value(f"icmp sgt i64 {count}, 0")):
            f.call("fill", [*given, ("i64", count), ("i64", word["x_position"]), ("i64", 0)])


def _length(v: Vectors, word: dict[str, str]) -> str:
    """Inputs of a chunk: what the last lane reads ends there."""
    f = v.function
    return f.add(f.mul(word["block"], v.lanes - 1), word["rows"])


def _turn(module: Module, machine: Machine, dtype: str) -> None:
    """``turn`` (from, to, block, rows): entries ``block`` apart become vectors."""
    f = module.function("turn", [("ptr", "from"), ("ptr", "to"), ("i64", "block"), ("i64", "rows")])
    v = Vectors(f, machine, dtype)
    with f.loop(0, "%rows", step=v.lanes) as turn:
        here = v.at("%from", turn.index)
        lanes = [v.load(v.at(here, f.mul("%block", lane))) for lane in range(v.lanes)]
        to = v.at("%to", f.mul(turn.index, v.lanes))
        for i, row in enumerate(v.transpose(lanes)):
            v.store(row, v.at(to, i * v.lanes))


def width(lanes: int) -> int:
    """Vectors of outputs in registers."""
    return max(8, lanes)


def _sums(module: Module, machine: Machine, dtype: str) -> None:
    """``sums`` (turned, w, to, step, taps, block): all outputs of a chunk, in order."""
    arrays = [("ptr", name) for name in ("turned", "w", "to")]
    f = module.function("sums", [*arrays, *(("i64", n) for n in ("step", "taps", "block"))])
    v = Vectors(f, machine, dtype)
    wide = width(v.lanes)
    fours, ones = f.divmod("%taps", TAPS)
    with f.loop(0, "%block", step=wide) as out:
        x = v.at("%turned", f.mul(out.index, v.lanes))
        carried = [("ptr", x), ("ptr", "%w"), *((v.type, v.zero) for _ in range(wide))]
        for count, taps in ((fours, TAPS), (ones, 1)):
            with f.loop(0, count, carried) as turn:
                x, w, *values = turn.values
                made = _taps(v, x, w, values, taps)
                onward = [v.at(x, taps * v.lanes), v.at(w, f.mul("%step", taps))]
                turn.carry([*onward, *made])
            carried = [(kind, r) for (kind, _), r in zip(carried, turn.results, strict=True)]
        for first in range(0, wide, v.lanes):
            to = v.at("%to", f.add(out.index, first))
            rows = turn.results[2 + first : 2 + first + v.lanes]
            for lane, row in enumerate(v.transpose(rows)):
                v.store(row, v.at(to, f.mul("%block", lane)))


def _taps(v: Vectors, x: str, w: str, values: list[str], taps: int) -> list[str]:
    """Every output of ``values`` at ``taps`` taps, each in its order."""
    acc = list(values)
    weights = [v.broadcast(v.at(w, v.function.mul("%step", k))) for k in range(taps)]
    for i in range(len(acc) + taps - 1):
        vector = v.load(v.at(x, i * v.lanes))
        for k, weight in enumerate(weights):
            if 0 <= i - k < len(acc):
                acc[i - k] = v.multiply_add(weight, vector, acc[i - k])
    return acc


# When it applies, what it costs -------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    axis = c.windows[-1].axis
    if c.dtype not in DTYPES:
        return f"{c.dtype} is not one of {', '.join(DTYPES)}"
    if len(c.windows) > 1 or c.channels_in > 1:
        return "more than one axis or input channel"
    if axis.stride > 1 or axis.dilation > 1 or axis.kernel < TAPS:
        return f"a stride, a dilation, or fewer than {TAPS} taps"
    if len({b - a for a, b in pairwise(c.windows[-1].taps)}) != 1:
        return "its taps lie at uneven distances"
    return None


def needs_padded(c: Correlation, machine: Machine) -> bool:
    return c.windows[-1].borders


def needs_channels_first(c: Correlation) -> bool:
    return False


def _rows(c: Correlation, machine: Machine, block: int) -> int:
    """Vectors of a turned stretch: a block, and what its last output reads beyond it."""
    lanes = machine.lanes(c.dtype)
    return block + -(-(c.windows[-1].axis.kernel + TAPS) // lanes) * lanes


def _block(c: Correlation, machine: Machine) -> tuple[float, int]:
    """Cycles of a sample and group, and the block that takes least."""
    lanes, axis = machine.lanes(c.dtype), c.windows[-1].axis
    least, best, block = inf, BLOCKS[0], BLOCKS[0]
    while block <= BLOCKS[1]:
        chunks = -(-axis.output // (block * lanes))
        rows = _rows(c, machine, block)
        sums = block * (axis.kernel / REACHED + 4 + MOVE)
        cycles = chunks * (UNIT + rows * (3 + MOVE) + c.channels_out * sums)
        if cycles < least:
            least, best = cycles, block
        block *= 2
    return least, best


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core."""
    if why_not(c, machine) is not None:
        return inf
    return c.batch * c.groups * _block(c, machine)[0]


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the step that computes ``c``; ``after`` where the input is itself the work of a step."""
    (last,) = c.windows
    axis, lanes = last.axis, machine.lanes(c.dtype)
    block = _block(c, machine)[1]
    rows = _rows(c, machine, block)
    chunks = -(-axis.output // (block * lanes))
    units = c.batch * c.groups * chunks
    slots = max(1, min(units, SLOTS))
    slot = (lanes - 1) * block + rows + rows * lanes
    recipe = Signal(
        dtype=c.dtype,
        near=last.x == 1,
        beside=last.out == 1,
        bias=arrays.bias is not None,
        epilogue=c.epilogue,
        aux_contiguous=c.aux_contiguous("position"),
    )
    words: dict[str, Argument] = {
        "x": shifted(arrays.x, c.x_base, c.dtype),
        "w": shifted(arrays.w, last.taps[0], c.dtype),
        "out": shifted(arrays.out, c.out_base, c.dtype),
        "bias": arrays.bias or 0,
        "scratch": Operand(work.borrow("signal", slots * slot * ELEMENTS[c.dtype][1])),
        **{"slots": slots, "units": units, "chunks": chunks, "groups": c.groups},
        **{"channels_out": c.channels_out, "slot": slot, "block": block, "rows": rows},
        **{"lo": axis.lo, "size": axis.size, "outputs": axis.output, "taps": axis.kernel},
        **{"w_group": c.w[0], "w_out": c.w[1], "w_tap": last.taps[1] - last.taps[0]},
        **{"x_batch": c.x[0], "x_group": c.x[1], "x_position": last.x},
        **dict(zip(("out_batch", "out_group", "out_channel"), c.out, strict=True)),
        "out_position": last.out,
    }
    for i, (array, base) in enumerate(zip(arrays.aux, c.aux_base, strict=True)):
        values: list[Argument] = [shifted(array, base, c.dtype), *c.aux[i], last.aux[i]]
        words |= {f"aux{i}{name}": value for name, value in zip(AUX, values, strict=True)}
    given = ordered((*recipe.pointers, *recipe.numbers), words)
    title = f"signal in blocks of {block}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    work.steps.append(Step(recipe, slots, given, title, barrier))
