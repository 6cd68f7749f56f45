"""Signals of one channel as plain sums: lanes a distance apart, so that shifts are addresses.

What it is.  A segment of the signal is transposed: its vectors hold entries ``length`` apart, and
  lane ``l`` of vector ``m`` is entry ``l * length + m``. An output vector ``j`` at tap ``k`` then
  reads vector ``j + k``: every vector that is loaded, aligned, serves four taps at once in
  registers, one load for three multiply-adds, where contiguous lanes would need an unaligned load
  for each. Sums take their taps in order.
When it applies.  One axis, one input channel, stride 1, no dilation.
What it costs.  Near the peak of multiply-adds, and a transposition on the way in and out.
"""

from math import inf

from faltung.codegen.copies import write_fill
from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import SIGNAL_VECTOR_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation, step_of
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.epilogue_arrays import EpilogueKernel, input_of
from faltung.methods.base.kernel import Arguments, part
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.moves import put_arguments, write_put
from faltung.methods.base.step import Arrays, Work, shifted

DTYPES = ("float32", "float64")
# Taps that one loaded vector serves.
TAPS = 4
# Entries of a segment in one lane, at the least and at the most.
LENGTHS = (32, 512)
# Items, each with scratch of its own.
MAX_ITEMS = 16
# Multiply-adds in a cycle that are reached; cycles of an output vector and of a transposed one
# beside those to move it, and of a segment.
PRODUCTS_A_CYCLE = 1.5
SIGNAL_OUTPUT_CYCLES, SIGNAL_INPUT_CYCLES, SIGNAL_SEGMENT_CYCLES = 4, 3, 400


# The code -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignalKernel(EpilogueKernel):
    """Items are some of the segments (sample, group, ``lanes * length`` outputs).

    x_contiguous, out_contiguous: inputs are contiguous, outputs. aux_steps: what arrays of the
    epilogue are along positions. bias: there is one.
    """

    name = "signal"
    pointers = ("x", "w", "bias", "scratch")
    numbers = (
        # Of the scratch of an item; of a segment, its outputs in one lane and its vectors.
        *("item_count", "segments", "row_segments", "item_scratch", "length", "vectors"),
        *("groups", "channels_out", "lo", "size", "outputs", "taps", "w_group", "w_out", "w_tap"),
        *("x_batch", "x_group", "x_position"),
    )
    output_numbers = ("batch", "group", "channel", "position")

    dtype: str
    x_contiguous: bool
    out_contiguous: bool
    bias: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()

    def functions(self, code: Functions) -> None:
        write_fill(code, self.x_contiguous)
        write_put(code, self, contiguous=self.out_contiguous, bias=self.bias)
        _write_transpose(code)
        _write_sums(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            first, stop = part(f, given["segments"], given["item_count"], item.index)
            scratch = v.at(given["scratch"], f.mul(item.index, given["item_scratch"]))
            with f.loop(first, stop) as segment:
                self._segment(v, given, scratch, segment.index)

    def _segment(self, v: Vectors, given: Arguments, line: str, segment: str) -> None:
        """All outputs of a segment; its inputs in order begin at ``line``."""
        f = v.function
        row, number = f.divmod(segment, given["row_segments"])
        batch, group = f.divmod(row, given["groups"])
        size = f.mul(given["length"], v.lanes)
        start = f.mul(number, size)
        transposed = v.at(line, _inputs(v, given))
        self._load(v, given, line, start, (batch, group))
        lengths = [("i64", given["length"]), ("i64", given["vectors"])]
        f.call("transpose", [("ptr", line), ("ptr", transposed), *lengths])
        count = f.minimum(size, f.sub(given["outputs"], start))
        places = {}
        for name in self.outputs:
            at = given.offset(name, batch=batch, group=group)
            places[name] = v.at(given[name], f.add(at, f.mul(start, given[f"{name}_position"])))
        with f.loop(0, given["channels_out"]) as co:
            at = given.offset("w", group=group, out=co.index)
            arrays = [("ptr", transposed), ("ptr", v.at(given["w"], at)), ("ptr", line)]
            numbers = [("i64", given[name]) for name in ("w_tap", "taps", "length")]
            f.call("sums", [*arrays, *numbers])
            channel = f.add(f.mul(group, given["channels_out"]), co.index)
            bias = v.at(given["bias"], channel)
            here = {**given, "from": line, "count": count, "ahead": "0", "bias": bias}
            for name in self.outputs:
                here[name] = v.at(places[name], f.mul(co.index, given[f"{name}_channel"]))
            f.call_with("put", put_arguments(len(self.aux_steps)), here)

    def _load(
        self, v: Vectors, given: Arguments, line: str, start: str, where: tuple[str, str]
    ) -> None:
        """The inputs of a segment in order, zeros outside the signal."""
        f = v.function
        inputs = _inputs(v, given)
        f.call("blank", [("ptr", line), ("i64", inputs)])
        first = f.sub(start, given["lo"])
        before = f.sub(0, f.minimum(0, first))
        count = f.sub(f.minimum(inputs, f.sub(given["size"], first)), before)
        at = given.offset("x", batch=where[0], group=where[1])
        at = f.add(at, f.mul(f.add(first, before), given["x_position"]))
        arrays = [("ptr", v.at(line, before)), ("ptr", v.at(given["x"], at))]
        with f.when(f.value(f"icmp sgt i64 {count}, 0")):
            f.call("fill", [*arrays, ("i64", count), ("i64", given["x_position"]), ("i64", 0)])


def _inputs(v: Vectors, given: Arguments) -> str:
    """How many inputs a segment has: what its last lane reads ends there."""
    f = v.function
    return f.add(f.mul(given["length"], v.lanes - 1), given["vectors"])


def _write_transpose(code: Functions) -> None:
    """``transpose`` (from, to, length, vectors): entries ``length`` apart become vectors."""
    v = code.open("transpose", parameters(["from", "to"], ["length", "vectors"]))
    f = v.function
    with f.loop(0, "%vectors", step=v.lanes) as first:
        here = v.at("%from", first.index)
        lanes = [v.load(v.at(here, f.mul("%length", lane))) for lane in range(v.lanes)]
        to = v.at("%to", f.mul(first.index, v.lanes))
        for i, row in enumerate(v.transpose(lanes)):
            v.store(row, v.at(to, i * v.lanes))


def _write_sums(code: Functions) -> None:
    """``sums`` (transposed, w, to, step, taps, length): all outputs of a segment, in order."""
    names = parameters(["transposed", "w", "to"], ["step", "taps", "length"])
    v = code.open("sums", names)
    f = v.function
    # Vectors of outputs in registers.
    width = max(8, v.lanes)
    fours, ones = f.divmod("%taps", TAPS)
    with f.loop(0, "%length", step=width) as out:
        x = v.at("%transposed", f.mul(out.index, v.lanes))
        carried = [("ptr", x), ("ptr", "%w"), *((v.type, v.zero) for _ in range(width))]
        for count, taps in ((fours, TAPS), (ones, 1)):
            with f.loop(0, count, carried) as tap:
                x, w, *values = tap.values
                made = _taps(v, x, w, values, taps)
                onward = [v.at(x, taps * v.lanes), v.at(w, f.mul("%step", taps))]
                tap.carry([*onward, *made])
            carried = [(kind, r) for (kind, _), r in zip(carried, tap.results, strict=True)]
        for first in range(0, width, v.lanes):
            to = v.at("%to", f.add(out.index, first))
            rows = tap.results[2 + first : 2 + first + v.lanes]
            for lane, row in enumerate(v.transpose(rows)):
                v.store(row, v.at(to, f.mul("%length", lane)))


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


# The method ---------------------------------------------------------------------------------------


class Signal(ForwardMethod):
    """Vectors along positions that lie apart."""

    copies = "channels_first"

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        axis = c.windows[-1].axis
        if c.dtype not in DTYPES:
            return f"{c.dtype} is not one of {', '.join(DTYPES)}"
        if len(c.windows) > 1 or c.channels_in > 1:
            return "more than one axis or input channel"
        if axis.stride > 1 or axis.dilation > 1 or axis.kernel < TAPS:
            return f"a stride, a dilation, or fewer than {TAPS} taps"
        if step_of(c.windows[-1].taps) is None:
            return "its taps lie at uneven distances"
        return None

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        return c.windows[-1].borders

    def cost(self, c: Correlation, machine: Machine) -> float:
        if self.why_not(c, machine) is not None:
            return inf
        return c.batch * c.groups * _choose(c, machine)[0]

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        (last,) = c.windows
        axis, lanes = last.axis, machine.lanes(c.dtype)
        _, length = _choose(c, machine)
        vectors = _vectors(c, machine, length)
        row_segments = -(-axis.output // (length * lanes))
        segments = c.batch * c.groups * row_segments
        items = max(1, min(segments, MAX_ITEMS))
        item_scratch = (lanes - 1) * length + vectors + vectors * lanes
        kernel = SignalKernel(
            dtype=c.dtype,
            x_contiguous=last.x == 1,
            out_contiguous=last.out == 1,
            bias=arrays.bias is not None,
            epilogue=c.epilogue,
            aux_steps=c.aux_steps("position"),
        )
        step = kernel.step(
            items,
            f"signal in lanes of {length}",
            barrier=barrier,
            w=shifted(arrays.w, last.taps[0], c.dtype),
            bias=arrays.bias or 0,
            scratch=work.borrow("signal", items * item_scratch * c.item_bytes),
            **{"item_count": items, "segments": segments, "row_segments": row_segments},
            **{"item_scratch": item_scratch, "length": length, "vectors": vectors},
            **{"groups": c.groups, "channels_out": c.channels_out},
            **{"lo": axis.lo, "size": axis.size, "outputs": axis.output, "taps": axis.kernel},
            **{"w_group": c.w[0], "w_out": c.w[1], "w_tap": last.taps[1] - last.taps[0]},
            **input_of(c, arrays).arguments("x", ("batch", "group", "position")),
            **kernel.output_arguments(c, arrays),
        )
        work.steps.append(step)


def _vectors(c: Correlation, machine: Machine, length: int) -> int:
    """Vectors of a transposed segment: its outputs, and what the last of them reads beyond."""
    lanes = machine.lanes(c.dtype)
    return length + -(-(c.windows[-1].axis.kernel + TAPS) // lanes) * lanes


def _choose(c: Correlation, machine: Machine) -> tuple[float, int]:
    """Cycles of a sample and group, and the length of lanes that takes least."""
    lanes, axis = machine.lanes(c.dtype), c.windows[-1].axis
    sums = axis.kernel / PRODUCTS_A_CYCLE + SIGNAL_OUTPUT_CYCLES + SIGNAL_VECTOR_CYCLES
    offers, length = [], LENGTHS[0]
    while length <= LENGTHS[1]:
        segments = -(-axis.output // (length * lanes))
        inputs = _vectors(c, machine, length) * (SIGNAL_INPUT_CYCLES + SIGNAL_VECTOR_CYCLES)
        inputs += SIGNAL_SEGMENT_CYCLES
        offers.append((segments * (inputs + c.channels_out * (length * sums)), length))
        length *= 2
    return min(offers)


SIGNAL = Signal()
