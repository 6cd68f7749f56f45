"""The kernels of elementwise steps: formulas and partial sums in one pass over a map.

``RowsKernel``: items are bands of rows by blocks of channels; partial sums lie in memory, a row for
each band, and stay in the first cache. ``FlatKernel``: the whole map is one row, and items are
parts of it.

An iteration takes a vector of each of several rows at once, so that several loads are under way,
and operands that the rows share are loaded once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faltung.codegen.expr import Formulas, instructions, mixed
from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS, Functions, Vectors
from faltung.geometry.expr import Expr
from faltung.machine.table import Machine
from faltung.methods.base.kernel import BLOCK, Arguments, Kernel
from faltung.methods.elementwise.totals import TotalsKernel, call_finish, paired

# Instructions of formulas in one iteration: for registers, and for short compilation.
MAX_INSTRUCTIONS = 48
# Arrays that go by in one iteration: processors follow about sixteen.
MAX_STREAMS = 16
# Partial sums of two bands share no cache lines, which are fetched in pairs.
PARTIAL_BYTES = 128
# Which lanes exist: all, so many, or those of a mask.
Lanes = int | str | None


@dataclass(frozen=True)
class ElementwiseKernel(Kernel):
    """``kinds``: of the inputs: "full", "sample", "channel", "scalar" or "key".

    outputs: formulas of the inputs. sums: kind and formula of each partial sum. totals: what is
    finished in the same kernel, by kind, because a single band makes the whole sum; its arguments
    follow those of the pass.
    """

    dtype: str
    kinds: tuple[str, ...]
    outputs: tuple[Expr, ...]
    sums: tuple[tuple[str, Expr], ...]
    totals: tuple[tuple[str, TotalsKernel], ...] = ()

    def of(self, kind: str) -> list[int]:
        """The numbers of the inputs of a kind."""
        return [i for i, found in enumerate(self.kinds) if found == kind]

    @property
    def streams(self) -> int:
        """Arrays that go by as large as the map."""
        return len(self.of("full")) + len(self.outputs)

    @property
    def work(self) -> int:
        """Instructions for one vector."""
        formulas = (*self.outputs, *(expr for _, expr in self.sums))
        return self.streams + len(self.sums) + instructions(*formulas)

    @property
    def unroll(self) -> int:
        """Vectors in one iteration."""
        fit = [
            n
            for n in (2, 4)
            if n * self.work <= MAX_INSTRUCTIONS and n * self.streams <= MAX_STREAMS
        ]
        return max(fit, default=1)

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        counts = {"in": len(self.kinds), "out": len(self.outputs), "sum": len(self.sums)}
        arrays = (f"{name}{i}" for name, count in counts.items() for i in range(count))
        return tuple(arrays), self.numbers

    def functions(self, code: Functions) -> None:
        for kind, totals in self.totals:
            totals.write_finish(code, f"finish_{kind}", alone=True)


def partial_pitch(machine: Machine, dtype: str) -> int:
    """Elements between the partial sums of two items that are one vector each."""
    return max(machine.lanes(dtype), PARTIAL_BYTES // ELEMENTS[dtype][1])


@dataclass
class _Place:
    """Where one vector of the map lies: addresses of the full inputs by number, and of the outputs;
    the number of its first element.
    """

    inputs: Mapping[int, str]
    outputs: Sequence[str]
    element: str | None


class _Iterations:
    """Writes iterations into the function of a kernel."""

    def __init__(self, kernel: ElementwiseKernel, v: Vectors, given: Arguments) -> None:
        self.v, self.kernel = v, kernel
        self.inputs = [given[f"in{i}"] for i in range(len(kernel.kinds))]
        self.outputs = [given[f"out{i}"] for i in range(len(kernel.outputs))]
        self.sums = [given[f"sum{i}"] for i in range(len(kernel.sums))]
        self.pitch = partial_pitch(v.machine, kernel.dtype)
        self._fixed = {i: v.broadcast(self.inputs[i]) for i in kernel.of("scalar")}
        f = v.function
        self._fixed |= {i: mixed(f, f.word(self.inputs[i], 0)) for i in kernel.of("key")}

    def write(self, places: Sequence[_Place], shared: Mapping[int, str], lanes: Lanes) -> list[str]:
        """All formulas at ``places``; the sum over these for each sum. shared: operands.

        All places are read before any is written: an output may replace an input.
        """
        v, kernel = self.v, self.kernel
        read = [{i: self.load(at, lanes) for i, at in place.inputs.items()} for place in places]
        made: list[list[str]] = []
        terms: list[list[str]] = []
        for place, own in zip(places, read, strict=True):
            known = {**self._fixed, **shared, **own}
            operands = [known[i] for i in range(len(kernel.kinds))]
            formulas = Formulas(v, operands, place.element)
            made.append([formulas.value(expr) for expr in kernel.outputs])
            terms.append([formulas.value(expr) for _, expr in kernel.sums])
        for place, values in zip(places, made, strict=True):
            for value, at in zip(values, place.outputs, strict=True):
                if isinstance(lanes, int):
                    v.store_first(value, at, lanes)
                else:
                    v.store(value, at, lanes)
        return [paired(v, found) for found in zip(*terms, strict=True)]

    def load(self, address: str, lanes: Lanes) -> str:
        return self.v.load(address, self._mask(lanes))

    def alone(self, value: str, lanes: Lanes) -> str:
        """``value``, and zero in the lanes that do not exist."""
        mask = self._mask(lanes)
        return value if mask is None else self.v.select(mask, value, self.v.zero)

    def _mask(self, lanes: Lanes) -> str | None:
        return self.v.first(lanes) if isinstance(lanes, int) else lanes

    def finish(self, kind: str, group: str, first: str, last: str) -> None:
        """Finish the sums of a kind here, if they are to be."""
        f, start = self.v.function, len(self.kernel.names)
        for found, totals in self.kernel.totals:
            if found == kind:
                block = f.at(BLOCK, start, "i64")
                call_finish(f, f"finish_{kind}", block, group, first, last)
            start += len(totals.names)


def _whole(f: Function, first: str, last: str, size: int) -> str:
    """The end of the whole iterations of ``size`` from ``first`` on."""
    return f.add(first, f.multiple(f.sub(last, first), size))


# One row ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlatKernel(ElementwiseKernel):
    """Everything lies in one row: all inputs are full, scalars or keys, all sums scalars.

    The last vector is masked. Sums stay in registers.
    """

    name = "elementwise_flat"
    numbers = ("length", "item_length")

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, _Iterations(self, v, given)
        size = self.unroll * v.lanes

        def place(element: str) -> _Place:
            full = {i: v.at(code.inputs[i], element) for i in self.of("full")}
            return _Place(full, [v.at(base, element) for base in code.outputs], element)

        with f.loop("%begin", "%end") as item:
            first = f.opaque(f.mul(item.index, given["item_length"]))
            last = f.minimum(f.add(first, given["item_length"]), given["length"])
            whole = f.opaque(_whole(f, first, last, size))
            with f.loop(first, whole, [(v.type, v.zero)] * len(code.sums), step=size) as i:
                places = [place(f.add(i.index, n * v.lanes)) for n in range(self.unroll)]
                found = code.write(places, {}, None)
                i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
            with f.loop(whole, last, v.carried(i.results), step=v.lanes) as i:
                mask = v.below(f.sub(last, i.index))
                found = [code.alone(x, mask) for x in code.write([place(i.index)], {}, mask)]
                i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
            for base, value in zip(code.sums, i.results, strict=True):
                v.store(value, v.at(base, f.mul(item.index, code.pitch)))
            code.finish("scalar", "0", "0", "1")


# Rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowsKernel(ElementwiseKernel):
    """Rows of channels, ``tail`` of them beyond the last whole vector."""

    name = "elementwise_rows"
    numbers = (
        *("samples", "positions", "channels", "step", "bands", "band", "blocks", "block"),
        "pitch",
    )

    tail: int = 0

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        arrays, numbers = super().declared()
        inputs = (f"in{i}" for i, kind in enumerate(self.kinds) if kind in ("full", "sample"))
        outputs = (f"out{i}" for i in range(len(self.outputs)))
        return arrays, (*numbers, *(f"{name}_pitch" for name in (*inputs, *outputs)))

    def body(self, v: Vectors, given: Arguments) -> None:
        _RowLoops(self, v, given).write()


class _RowLoops:
    """Items are bands of rows by blocks of channels.

    A band is ``step`` whole samples, or one of the ``bands`` of ``band`` rows of a sample.
    """

    def __init__(self, kernel: RowsKernel, v: Vectors, given: Arguments) -> None:
        self.f, self.v, self.kernel, self.given = v.function, v, kernel, given
        self.code = _Iterations(kernel, v, given)

    def write(self) -> None:
        f, given, code = self.f, self.given, self.code
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            group, band = f.divmod(rest, given["bands"])
            self.first, self.last = self._range(block, "block", "channels")
            self.whole = _whole(f, self.first, self.last, self.v.lanes)
            rows = self._range(band, "band", "positions")
            sums = {"channel": rest, "scalar": item.index}
            self._clear(sums)
            with f.loop(*self._range(group, "step", "samples")) as sample:
                sums["sample"] = f.add(f.mul(sample.index, given["bands"]), band)
                self._clear({"sample": sums["sample"]})
                self._sample(sample.index, rows, sums)
                code.finish("sample", sample.index, self.first, self.last)
            code.finish("channel", "0", self.first, self.last)
            code.finish("scalar", "0", "0", "1")

    def _range(self, number: str, size: str, limit: str) -> tuple[str, str]:
        first = self.f.mul(number, self.given[size])
        return first, self.f.minimum(self.f.add(first, self.given[size]), self.given[limit])

    def _partial(self, i: int, sums: Mapping[str, str]) -> str:
        """The row of partial sums that sum ``i`` adds to."""
        kind = self.kernel.sums[i][0]
        pitch = self.code.pitch if kind == "scalar" else self.given["pitch"]
        return self.v.at(self.code.sums[i], self.f.mul(sums[kind], pitch))

    def _clear(self, sums: Mapping[str, str]) -> None:
        """Zeros in the block's partial sums of these kinds."""
        v, kinds = self.v, [kind for kind, _ in self.kernel.sums]
        rows = {i: self._partial(i, sums) for i, kind in enumerate(kinds) if kind in sums}
        for i, row in rows.items():
            if kinds[i] == "scalar":
                v.store(v.zero, row)
        if any(kinds[i] != "scalar" for i in rows):
            with self.f.loop(self.first, self.last, step=v.lanes) as c:
                for i, row in rows.items():
                    if kinds[i] != "scalar":
                        v.store(v.zero, v.at(row, c.index))

    def _sample(self, sample: str, rows: tuple[str, str], sums: Mapping[str, str]) -> None:
        """The rows of a band in one sample: iterations of several rows, then single ones."""
        f, v, code, kernel = self.f, self.v, self.code, self.kernel
        partial = [self._partial(i, sums) for i in range(len(code.sums))]
        shared = {i: code.inputs[i] for i in kernel.of("channel")}
        for i in kernel.of("sample"):
            shared[i] = v.at(code.inputs[i], f.mul(sample, self.given[f"in{i}_pitch"]))
        base = f.mul(sample, self.given["positions"])
        count, (first, last) = kernel.unroll, rows
        middle = _whole(f, first, last, count)
        for start, stop, size in [(first, middle, count), (middle, last, 1)][: min(count, 2)]:
            with f.loop(start, stop, step=size) as row:
                self._columns(f.add(base, row.index), size, shared, partial)

    def _columns(
        self, row: str, count: int, shared: Mapping[int, str], partial: Sequence[str]
    ) -> None:
        """All channels of the block, of ``count`` rows at once."""
        f, v, code, kernel = self.f, self.v, self.code, self.kernel
        inputs = {i: self._rows(f"in{i}", row, count) for i in kernel.of("full")}
        outputs = [self._rows(f"out{i}", row, count) for i in range(len(kernel.outputs))]
        # The numbers of elements, where somebody asks for them.
        keyed = range(count if kernel.of("key") else 0)
        elements = [f.mul(f.add(row, r), self.given["channels"]) for r in keyed]

        def iteration(c: str, lanes: Lanes) -> None:
            places = [
                _Place(
                    {i: v.at(rows[r], c) for i, rows in inputs.items()},
                    [v.at(rows[r], c) for rows in outputs],
                    f.add(elements[r], c) if elements else None,
                )
                for r in range(count)
            ]
            loaded = {i: code.load(v.at(base, c), lanes) for i, base in shared.items()}
            self._add(code.write(places, loaded, lanes), partial, c, lanes)

        with f.loop(self.first, self.whole, step=v.lanes) as column:
            iteration(column.index, None)
        if kernel.tail:
            with f.when(f.value(f"icmp slt i64 {self.whole}, {self.last}")):
                iteration(self.whole, kernel.tail)

    def _rows(self, name: str, row: str, count: int) -> list[str]:
        """The addresses of ``count`` rows of a map."""
        pitch = self.given[f"{name}_pitch"]
        found = [self.v.at(self.given[name], self.f.mul(row, pitch))]
        for _ in range(count - 1):
            found.append(self.v.at(found[-1], pitch))
        return found

    def _add(self, found: Sequence[str], partial: Sequence[str], c: str, lanes: Lanes) -> None:
        """Add what an iteration has found to the partial sums.

        Lanes beyond the channels have sums of their own, which nobody reads; in a scalar they
        would meet the others.
        """
        v = self.v
        for (kind, _), value, row in zip(self.kernel.sums, found, partial, strict=True):
            scalar = kind == "scalar"
            at = row if scalar else v.at(row, c)
            v.store(v.add(v.load(at), self.code.alone(value, lanes) if scalar else value), at)
