"""Weights transformed on their way into the products, where both happen at every call.

Transformed weights are two or four times as large as the weights, and with hundreds of channels
larger than the caches: to write them and to read them again takes longer than to multiply by them.
Where tiles are so few that the sums of all of them for a block of output channels fit the cache, a
thread takes some blocks, transforms what a few input channels have for one of them, adds its
products to the sums at once, and forgets it. So weights are read once, as they are, and nothing is
written but sums.

Every sum adds the same products in the same order as in ``winograd_products``, some channels at a
time: the bits are the same.
"""

from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.winograd.filter_transform import TransformWeight
from faltung.methods.winograd.products import Driver, Products, sums

# Where weights lie, and how; elements of what an item makes of them, and its blocks; tiles.
WEIGHTS = ("w", "taps", "w_block", "w_channel", "w_lane", "channels_out")
MORE = ("u_item", "together", "tiles")


@dataclass(frozen=True)
class FusedProducts:
    """``products``: the sums, for all tiles of some blocks in one run; ``weight``: how weights are
    transformed; ``part``: input channels at a time.
    """

    products: Products
    weight: TransformWeight
    part: int

    @property
    def symbol(self) -> str:
        return f"winograd_fused_{self.products.dtype}"

    def words(self) -> tuple[str, ...]:
        return (*self.products.words(), *WEIGHTS, *MORE)

    def emit(self, machine: Machine) -> str:
        """Items: some blocks of output channels."""
        module, recipe = Module(), self.products
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        _Fused(self, Driver(recipe, f, Vectors(f, machine, recipe.dtype), self.words())).emit()
        self.weight.function(module, machine)
        for number, rows in enumerate(recipe.rows):
            sums(module, machine, recipe, rows, f"sums{number}", part=True)
        recipe.emit_inverses(module, machine)
        return str(module)


class _Fused:
    """Items -> blocks, and for each of them parts of the input channels."""

    def __init__(self, recipe: FusedProducts, driver: Driver) -> None:
        self.recipe, self.driver = recipe, driver

    def emit(self) -> None:
        recipe, driver = self.recipe, self.driver
        f, v, word = driver.f, driver.v, driver.word
        size, align = recipe.products.most * driver.tile, max(64, v.machine.vector_bytes)
        memory = f.value(f"alloca [{size} x {v.element}], align {align}")
        ends = driver.memory()
        # No two threads begin with the same item: that one's memory is the thread's.
        u = v.at(word.pointer("u"), f.mul("%begin", word.number("u_item")))
        together, tiles = word.number("together"), word.number("tiles")
        pitch = f.mul(tiles, driver.tile)
        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, together)
            stop = f.minimum(f.add(first, together), word.number("blocks"))
            with f.loop(0, f.mul(pitch, together), step=v.lanes) as place:
                v.store(v.zero, v.at(memory, place.index))
            with f.loop(0, recipe.products.channels, step=recipe.part, runs=True) as part:
                count = f.minimum(recipe.part, f.sub(recipe.products.channels, part.index))
                with f.loop(first, stop, [("ptr", memory)]) as block:
                    self._part(block.index, part.index, count, u, block.values[0])
                    block.carry([v.at(block.values[0], pitch)])
            with f.loop(first, stop, [("ptr", memory)]) as block:
                driver.outputs((0, tiles), block.index, block.values[0], ends)
                block.carry([v.at(block.values[0], pitch)])

    def _part(self, block: str, first: str, count: str, u: str, to: str) -> None:
        """Add the products of ``count`` input channels to the sums of a block."""
        driver = self.driver
        f, v, word = driver.f, driver.v, driver.word
        source = f.add(f.mul(block, word.number("w_block")), f.mul(first, word.number("w_channel")))
        self.recipe.weight.call(
            f,
            word,
            w=v.at(word.pointer("w"), source),
            to=u,
            left=f.sub(word.number("channels_out"), f.mul(block, driver.width)),
            channels=count,
            point=word.number("u_point"),
        )
        lines = v.at(word.pointer("v"), first)
        run = word.pointer("runs")
        driver.products((f.word(run, 0), f.word(run, 1)), 0, u, lines, to, [("i64", count)])
