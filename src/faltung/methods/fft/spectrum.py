"""The code that makes spectra of kernels, for ``fft``."""

from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.moves import write_fill
from faltung.methods.fft.moves import TAPS, Code, runs
from faltung.methods.fft.passes import write_lanes, write_passes

KERNEL_POINTERS = ("w", "spectra", "taps", "scale")
KERNEL_NUMBERS = ("channels_in", "channels_out", "w_group", "w_out", "w_in", "runs")


@dataclass(frozen=True)
class FftKernel:
    """Items are kernels: (group, output channel, input channel). Each becomes a spectrum, divided
    by the length of the transform.
    """

    dtype: str

    @property
    def symbol(self) -> str:
        return f"fft_kernel_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, True)
        write_passes(module, machine, self.dtype, inverse=False)
        write_lanes(module, machine, self.dtype)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self._items(Code(f, KERNEL_POINTERS, KERNEL_NUMBERS))
        return str(module)

    def _items(self, code: Code) -> None:
        f, word = code.f, code.word
        element, size, _ = ELEMENTS[self.dtype]
        scale = f.value(f"load {element}, ptr {word['scale']}, align {size}")
        with f.loop("%begin", "%end") as item:
            rest, ci = f.divmod(item.index, word["channels_in"])
            g, co = f.divmod(rest, word["channels_out"])
            at = f.add(f.mul(g, word["w_group"]), f.mul(co, word["w_out"]))
            w = f.at(word["w"], f.add(at, f.mul(ci, word["w_in"])), element)
            to = f.at(word["spectra"], f.mul(item.index, word["buffer"]), element)
            f.call("blank", [("ptr", to), ("i64", word["buffer"])])

            def each(row: str, w: str = w, to: str = to) -> None:
                source, place = f.at(w, f.word(row, 0), element), f.at(to, f.word(row, 2), element)
                with f.loop(0, f.word(row, 4)) as tap:
                    here = f.at(source, f.mul(tap.index, f.word(row, 1)), element)
                    there = f.at(place, f.mul(tap.index, f.word(row, 3)), element)
                    one = f.value(f"load {element}, ptr {here}, align {size}")
                    scaled = f.value(f"fmul {element} {one}, {scale}")
                    f.emit(f"store {element} {scaled}, ptr {there}, align {size}")

            runs(f, word["taps"], TAPS, "0", word["runs"], each)
            code.forward(to)
