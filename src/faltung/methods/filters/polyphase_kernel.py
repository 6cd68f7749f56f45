"""Code of polyphase filters: lanes whole periods apart, so that each phase's taps are vectors.

Between two outputs a whole period apart, everything repeats: the same taps, ``down`` inputs
further on. So the lanes of a vector are such outputs. A segment of the signal is transposed: its
vector ``m`` holds entry ``m`` of every lane. Then tap ``t`` of any output is one vector times one
number, whatever the ratio, and no product with a zero that upsampling put in is computed.

Every output takes its taps in the order of the inputs in one accumulator, in a lane: its bits do
not depend on where it stands, nor on where the signal was cut.
"""

from faltung.codegen.ir import Function, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel, part

# What a call says in numbers, in the order of the array "counts". Inputs and outputs count from the
# first of each line; "first" is the output's place in its period, "input" the input that the first
# tap of the output at place 0 of that period reads.
COUNTS = (
    *("segments", "groups", "parts", "run", "lane_outputs", "lane_inputs"),
    *("up", "down", "taps", "kernels", "size", "outputs", "x_line", "out_line", "out_kernel"),
    *("first", "input", "scratch", "results"),
)


@dataclass(frozen=True)
class PolyphaseKernel(Kernel):
    """Items are some of the segments: (line, group of lanes, part of what each lane computes).

    vectors: of lanes. rows: outputs that are in registers at once.
    """

    name = "polyphase"
    pointers = ("x", "weights", "offsets", "out", "scratch", "counts")
    numbers = ("items",)

    dtype: str
    vectors: int = 2
    rows: int = 4

    def functions(self, code: Functions) -> None:
        _write_gather(code, self.vectors)
        _write_load(code, self.vectors)
        for rows in (self.rows, 1):
            _write_sums(code, rows, self.vectors)
        _write_store(code, self.vectors)
        _write_scatter(code, self.vectors)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        n = {name: f.word(given["counts"], i) for i, name in enumerate(COUNTS)}
        with f.loop("%begin", "%end") as item:
            first, stop = part(f, n["segments"], given["items"], item.index)
            scratch = v.at(given["scratch"], f.mul(item.index, n["scratch"]))
            with f.loop(first, stop) as segment:
                self._segment(v, given, n, scratch, segment.index)

    def _segment(
        self, v: Vectors, given: Arguments, n: dict[str, str], scratch: str, segment: str
    ) -> None:
        f, lanes = v.function, v.lanes * self.vectors
        line, rest = f.divmod(segment, f.mul(n["groups"], n["parts"]))
        group, number = f.divmod(rest, n["parts"])
        begin = f.mul(number, n["run"])
        count = f.minimum(n["run"], f.sub(n["lane_outputs"], begin))
        j = f.add(f.mul(group, f.mul(n["lane_outputs"], lanes)), begin)
        period, place = f.divmod(f.add(n["first"], j), n["up"])
        offset = f.word(given["offsets"], place)
        start = f.add(f.add(n["input"], f.mul(period, n["down"])), offset)
        vectors = _reach(f, given, n, place, count, offset)
        x = v.at(given["x"], f.mul(line, n["x_line"]))
        numbers = [("i64", start), ("i64", n["lane_inputs"]), ("i64", vectors), ("i64", n["size"])]
        reach = f.add(f.add(start, f.mul(n["lane_inputs"], lanes - 1)), f.add(vectors, v.lanes - 1))
        whole = f.value(f"icmp sle i64 {reach}, {n['size']}")
        whole = f.value(f"and i1 {whole}, {f.value(f'icmp sge i64 {start}, 0')}")
        arguments = [("ptr", x), ("ptr", scratch), *numbers]
        f.choose(whole, lambda: f.call("load", arguments), lambda: f.call("gather", arguments))
        results = v.at(scratch, n["results"])
        size = f.mul(n["up"], n["taps"])
        with f.loop(0, n["kernels"]) as kernel:
            weights = v.at(given["weights"], f.mul(kernel.index, size))
            self._sums(f, (scratch, weights, given["offsets"], results), n, place, count)
            out = f.add(f.mul(line, n["out_line"]), f.mul(kernel.index, n["out_kernel"]))
            left = f.sub(n["outputs"], j)
            to = v.at(given["out"], f.add(out, j))
            values = [("i64", n["lane_outputs"]), ("i64", count), ("i64", left)]
            where = [("ptr", results), ("ptr", to), *values]
            last = f.add(f.mul(n["lane_outputs"], lanes - 1), count)
            fits = f.value(f"icmp sle i64 {last}, {left}")
            long = f.value(f"icmp sge i64 {count}, {v.lanes}")
            fits = f.value(f"and i1 {fits}, {long}")
            self._put(f, fits, where)

    def _put(self, f: Function, fits: str, where: list[tuple[str, str]]) -> None:
        f.choose(fits, lambda: f.call("store", where), lambda: f.call("scatter", where))

    def _sums(
        self, f: Function, arrays: tuple[str, ...], n: dict[str, str], place: str, count: str
    ) -> None:
        whole = f.multiple(count, self.rows)
        pointers = [("ptr", array) for array in arrays]
        tail = [("i64", n[name]) for name in ("up", "down", "taps")]
        for rows, begin, stop in ((self.rows, "0", whole), (1, whole, count)):
            f.call(f"sums{rows}", [*pointers, ("i64", place), ("i64", begin), ("i64", stop), *tail])


def _reach(
    f: Function, given: Arguments, n: dict[str, str], place: str, count: str, offset: str
) -> str:
    """How many inputs of a lane ``count`` outputs read, from the first tap of the first one on."""
    period, last = f.divmod(f.add(place, f.sub(count, 1)), n["up"])
    end = f.add(f.mul(period, n["down"]), f.word(given["offsets"], last))
    return f.add(f.sub(end, offset), n["taps"])


def _write_load(code: Functions, vectors: int) -> None:
    """``load`` (x, to, start, step, count, size): lanes ``step`` apart, all of whose entries exist,
    transposed; whole squares.
    """
    names = parameters(["x", "to"], ["start", "step", "count", "size"])
    v = code.open("load", names)
    f = v.function
    with f.loop(0, "%count", step=v.lanes) as m:
        for number in range(vectors):
            lane = f.add(f.add("%start", m.index), f.mul("%step", number * v.lanes))
            rows = [v.load(v.at("%x", f.add(lane, f.mul("%step", i)))) for i in range(v.lanes)]
            to = v.at("%to", f.mul(m.index, v.lanes * vectors))
            for i, row in enumerate(v.transpose(rows)):
                v.store(row, v.at(to, i * v.lanes * vectors + number * v.lanes))


def _write_gather(code: Functions, vectors: int) -> None:
    """``gather``: the same one by one, zeros where there is no entry."""
    names = parameters(["x", "to"], ["start", "step", "count", "size"])
    v = code.open("gather", names)
    f, lanes = v.function, v.lanes * vectors
    with f.loop(0, f.mul("%count", lanes), step=v.lanes) as place:
        v.store(v.zero, v.at("%to", place.index))
    with f.loop(0, lanes) as lane:
        start = f.add("%start", f.mul(lane.index, "%step"))
        first = f.maximum(0, f.sub(0, start))
        stop = f.minimum("%count", f.sub("%size", start))
        with f.loop(first, stop) as m:
            value = v.load_one(v.at("%x", f.add(start, m.index)))
            v.store_one(value, v.at("%to", f.add(f.mul(m.index, lanes), lane.index)))


def _write_sums(code: Functions, rows: int, vectors: int) -> None:
    """``sums1`` and so on (x, w, offsets, to, place, begin, stop, up, down, taps): the outputs from
    ``begin`` up to ``stop`` of all lanes; the first of the segment is at ``place`` of its period.
    """
    pointers = ["x", "w", "offsets", "to"]
    numbers = ["place", "begin", "stop", "up", "down", "taps"]
    v = code.open(f"sums{rows}", parameters(pointers, numbers))
    f, lanes = v.function, v.lanes * vectors
    period, place = f.divmod(f.add("%place", "%begin"), "%up")
    base = f.sub(f.mul(period, "%down"), f.word("%offsets", "%place"))
    carried = [("i64", place), ("i64", base)]
    with f.loop("%begin", "%stop", carried, step=rows) as r:
        place, base = r.values
        x, w = [], []
        for _ in range(rows):
            x.append(v.at("%x", f.mul(f.add(base, f.word("%offsets", place)), lanes)))
            w.append(v.at("%w", f.mul(place, "%taps")))
            following = f.add(place, 1)
            wraps = f.value(f"icmp eq i64 {following}, %up")
            place = f.value(f"select i1 {wraps}, i64 0, i64 {following}")
            base = f.value(f"select i1 {wraps}, i64 {f.add(base, '%down')}, i64 {base}")
        zeros = [(v.type, v.zero) for _ in range(rows * vectors)]
        with f.loop(0, "%taps", zeros, runs=True) as tap:
            acc = []
            for i in range(rows):
                weight = v.broadcast(v.at(w[i], tap.index))
                here = v.at(x[i], f.mul(tap.index, lanes))
                for k in range(vectors):
                    value = tap.values[i * vectors + k]
                    acc.append(v.multiply_add(weight, v.load(v.at(here, k * v.lanes)), value))
            tap.carry(acc)
        to = v.at("%to", f.mul(r.index, lanes))
        for i, value in enumerate(tap.results):
            v.store(value, v.at(to, i * v.lanes))
        r.carry([place, base])


def _write_store(code: Functions, vectors: int) -> None:
    """``store`` (from, to, step, count, left): transposed back, lanes ``step`` apart; at least as
    many as a vector has lanes.
    """
    v = code.open("store", parameters(["from", "to"], ["step", "count", "left"]))
    f, lanes = v.function, v.lanes * vectors
    with f.loop(0, "%count", step=v.lanes, runs=True) as r:
        at = f.minimum(r.index, f.sub("%count", v.lanes))
        for number in range(vectors):
            here = v.at("%from", f.add(f.mul(at, lanes), number * v.lanes))
            rows = [v.load(v.at(here, i * lanes)) for i in range(v.lanes)]
            for i, row in enumerate(v.transpose(rows)):
                lane = f.mul("%step", number * v.lanes + i)
                v.store(row, v.at("%to", f.add(at, lane)))


def _write_scatter(code: Functions, vectors: int) -> None:
    """``scatter``: the same one by one, only those of the ``left`` outputs that exist."""
    v = code.open("scatter", parameters(["from", "to"], ["step", "count", "left"]))
    f, lanes = v.function, v.lanes * vectors
    with f.loop(0, lanes) as lane:
        begin = f.mul(lane.index, "%step")
        stop = f.minimum("%count", f.sub("%left", begin))
        with f.loop(0, stop) as r:
            value = v.load_one(v.at("%from", f.add(f.mul(r.index, lanes), lane.index)))
            v.store_one(value, v.at("%to", f.add(begin, r.index)))
