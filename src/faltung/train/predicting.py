"""What a network predicts: of samples in memory, of sources, and of pictures of any size."""

import threading
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from faltung.data.boxes import Boxes, arranged, is_stored_elsewhere
from faltung.data.layout import Layout, as_samples
from faltung.data.native import as_array
from faltung.data.source import Source, in_units, is_source, scaled
from faltung.data.standard import Standard
from faltung.data.units import Units
from faltung.geometry.check import truth, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.losses import Loss, Targets, targets_of, with_sigmoid
from faltung.graph.ops import Embed
from faltung.graph.value import Graph
from faltung.graph.windows import Window
from faltung.nn import Layer
from faltung.plan.words import Precision
from faltung.program.inference import Inference
from faltung.program.state import State
from faltung.runtime.buffers import empty
from faltung.train.batches import batches
from faltung.train.target_scale import scaled as scaled_targets
from faltung.train.target_scale import unscaled

if TYPE_CHECKING:
    from faltung.program.tiles import Memory, Tiles

Array = npt.NDArray[Any]

# Compiled programs that are kept, each for another batch size; sizes of pictures that are.
MAX_PROGRAMS, MAX_SIZES = 6, 3


class Predicting:
    """The part of ``Network`` that predicts; what it has is made there."""

    net: Layer
    graph: Graph
    standard: Standard | None
    units: Units | None
    layout: Layout
    loss: Loss | str | None
    target_scale: Standard | None
    precision: Precision
    tokens: bool
    _at_once: int
    _programs: dict[tuple[int, bool], Inference]
    _fresh: set[tuple[int, bool]]
    _sizes: "dict[tuple[tuple[int, ...], bool], Tiles]"
    _lock: threading.RLock
    _memory: "Memory | None"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.graph.input.shape

    @property
    def state(self) -> State:
        """The parameters in memory."""
        raise NotImplementedError

    @property
    def targets(self) -> Targets | None:
        """What the network was trained on: "labels", "flags" (several labels at once) or "numbers";
        None for one that was not.
        """
        return None if self.loss is None else targets_of(self.loss)

    def program(self, batch: int = 1, *, softmax: bool = False) -> Inference:
        """The network compiled for batches of one size, with the parameters as they are now.

        Parameters
        ----------
        batch : int
            How many samples one call takes.
        softmax : bool
            Whether the outputs are probabilities along the channels, or of a model of several
            labels at once each a probability; else what the last layer makes.

        Returns
        -------
        Inference
            Called with exactly ``batch`` samples as ``prepared`` gives them, by one thread at a
            time.
        """
        with self._lock:
            key = whole("batch", batch, 1), truth("softmax", softmax)
            found = self._programs.pop(key, None)
            if found is None:
                graph, last = self._ended(self.graph, softmax)
                found = Inference(
                    graph, self.state, batch, softmax=last, precision=self.precision, keep=True
                )
            elif key not in self._fresh:
                found.refresh()
            self._fresh.add(key)
            self._programs[key] = found  # in order of use
            if len(self._programs) > MAX_PROGRAMS:
                oldest = next(iter(self._programs))
                del self._programs[oldest]
                self._fresh.discard(oldest)
            return found

    @overload
    def predict(
        self,
        x: npt.ArrayLike | Source,
        *,
        softmax: bool | None = None,
        tile: int | Sequence[int] | None = None,
    ) -> Array: ...

    @overload
    def predict(
        self,
        x: Any,
        *,
        softmax: bool | None = None,
        tile: int | Sequence[int] | None = None,
        out: Any = None,
    ) -> Any: ...

    def predict(
        self,
        x: Any,
        *,
        softmax: bool | None = None,
        tile: int | Sequence[int] | None = None,
        out: Any = None,
    ) -> Any:
        """The outputs of the network.

        Parameters
        ----------
        x : array_like, Source, Dask array or Zarr array
            Samples ``(n, *input_shape)``, or a single one without the leading axis; channels may
            be last, or left out if there is one. Where both fit, they lie as in the arrays of the
            training. Numbers mean what they meant in training, whatever their dtype (see Notes).
            Whole numbers for a network with ``tokens``. Samples may be larger or smaller than
            those of the training, if the network has no layer that is made for one size.
        softmax : bool, optional
            Whether the outputs become probabilities along the channels, or of a model of several
            labels at once (``loss="binary_cross_entropy"``) each by a sigmoid. By default they do
            if the model has classes or was trained on labels.
        tile : int, or one int for each spatial axis, optional
            Of a picture of another size, or one that is stored elsewhere: positions of the output
            that are computed at a time. By default as many as fit in a part of the memory. It does
            not change the result.
        out : array, optional
            Where the outputs of such a picture are written, of their shape: anything with
            ``shape``, ``dtype`` and assignment, such as a Zarr array, which is written in whole
            chunks.

        Returns
        -------
        ndarray or Dask array
            ``(n, outputs, *space)`` in the dtype of the model, of one of 16 bits in float32,
            without ``n`` for a single sample. Of a model that was trained on numbers they are in
            the units of its targets. ``out``, if it is given. Of a Dask array a Dask
            array that has computed nothing, with a chunk for each tile.
            The bits of a sample's result do not depend on the other samples, nor on tiles.

        Raises
        ------
        ValueError, TypeError
            Samples of another shape or kind; a size that does not suit the network; a layer that
            sees the whole picture, where it does not fit in memory; an ``out`` of another shape,
            or with chunks across tiles.
        MemoryError
            More than fits, where ``out`` is not given.

        Notes
        -----
        A model that was trained on pictures with values from 0 to 255 divides such values by 255,
        be they bytes, floats or whole numbers of 64 bits. An array of fractions with nothing above
        1, or of bools, is taken to be such pictures divided already, and one of whole numbers above
        255 to have 16 bits. If it was trained on fractions from 0 to 1, whole numbers above 1 are
        divided by 255, or 65535. A source of pictures in files is converted by what its format
        says.

        A picture that is not of the size of the training is computed at once if that fits in
        memory, else in tiles, with the same bits: a tile reads exactly what the network sees, and
        padding is where the picture ends and nowhere else. Fourier transforms and Strassen's
        algorithm, which look at the whole picture, are not used for it.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> model = Model(nn.Conv(2, 3, padding="same"), (1, 16, 16))
        >>> picture = np.ones((1, 300, 200), np.float32)
        >>> whole, tiles = model.predict(picture), model.predict(picture, tile=64)
        >>> whole.shape, whole.tobytes() == tiles.tobytes()
        ((2, 300, 200), True)
        """
        if is_source(x):
            source = in_units(x, self.units)
            return self._outputs(source.read, len(source), self._softmax(softmax))
        if is_stored_elsewhere(x):
            if type(x).__module__.partition(".")[0] == "dask":
                return import_module("faltung.dask.networks").predicted(
                    self, x, softmax=self._softmax(softmax), tile=tile, out=out
                )
            return self._in_tiles(x, softmax, tile, out)
        array = as_array("x", x)
        if tile is None and out is None and self._samples(array) is not None:
            many, single = self.samples(array)
            result = self.outputs(self._divided(many), softmax=softmax)
            return result[0] if single else result
        if self.tokens or arranged(array.shape, self.input_shape, self.layout) is None:
            self.samples(array)  # says which shape it must have
        return self._in_tiles(array, softmax, tile, out)

    def _in_tiles(
        self, x: Any, softmax: bool | None, tile: int | Sequence[int] | None, out: Any
    ) -> Any:
        """The outputs for pictures of any size, or that are read a part at a time."""
        from faltung.train.any_size import Tiled  # no module that a usual prediction needs

        job = Tiled(self, self.boxes(x), softmax=self._softmax(softmax), tile=tile, out=out)
        return job.whole() if out is None else job.into(out)

    def boxes(self, x: Any) -> Boxes:
        """An array as samples of any size that are read in parts. ValueError, TypeError."""
        return Boxes.of(x, self.input_shape, self.layout)

    def sized(self, space: Sequence[int], softmax: bool) -> "Tiles":
        """The network for samples of another size, in tiles. ValueError: it has no such size."""
        key = tuple(space), softmax
        with self._lock:
            found = self._sizes.pop(key, None)
            if found is None:
                from faltung.program.tiles import Memory, Tiles
                from faltung.train.any_size import graph_for

                graph, last = self._ended(graph_for(self.net, self.graph, key[0]), softmax)
                self._memory = self._memory or Memory()
                found = Tiles(
                    graph,
                    self.state,
                    softmax=last,
                    precision=self.precision,
                    memory=self._memory,
                )
            self._sizes[key] = found
            while len(self._sizes) > MAX_SIZES:
                del self._sizes[next(iter(self._sizes))]
            return found

    def part(self, x: Array, space: tuple[int, ...], window: Window | None, softmax: bool) -> Array:
        """A window of the outputs (C, *sizes) for a sample of a size; None: all of it. x: what it
        reads of the sample, as ``part_in`` gives it.
        """
        with self._lock:
            if window is None and space == self.input_shape[1:]:
                made: Array = self.program(1, softmax=softmax)(x[np.newaxis])[0]
            else:
                tiles = self.sized(space, softmax)
                made = tiles.at_once(x) if window is None else tiles.run(window, x)
            return made if softmax else self.unscaled(made[np.newaxis])[0]

    def part_in(self, x: Array, divisor: float) -> Array:
        """A part of a stored sample (C, *sizes) as the network takes it."""
        divided = x if divisor == 1 else scaled(x, divisor)
        return np.ascontiguousarray(self.standardised(divided[np.newaxis])[0])

    def outputs(self, x: Array, *, softmax: bool | None = None, finished: bool = True) -> Array:
        """The outputs for samples (n, *input_shape) as a source reads them: already divided.
        ``finished``: as ``predict`` gives them, not as the last layer makes them.
        """
        likely = finished and self._softmax(softmax)
        made = self._outputs(lambda i: x[i[0] : i[-1] + 1], len(x), likely, finished)
        return made

    def _softmax(self, asked: bool | None) -> bool:
        """Whether answers are probabilities."""
        if asked is not None:
            return truth("softmax", asked)
        return self.targets in ("labels", "flags")

    def _ended(self, graph: Graph, softmax: bool) -> tuple[Graph, bool]:
        """The graph of a program, and whether that ends it with a softmax."""
        if softmax and self.targets == "flags":
            return with_sigmoid(graph), False
        return graph, softmax

    def scaled(self, targets: Array) -> Array:
        """Targets (n, ...) as the network learns them, (n, *output shape)."""
        return scaled_targets(self.target_scale, targets, self.graph.output.shape, self.graph.dtype)

    def unscaled(self, made: Array) -> Array:
        """Outputs of the network (n, outputs, ...) in the units of its targets."""
        return unscaled(self.target_scale, made)

    def _samples(self, x: Array) -> tuple[Array, bool] | None:
        kind = "text" if self.tokens else "picture"  # any kind with channels
        return as_samples(x, kind, self.input_shape, self.layout)  # type: ignore[arg-type]

    def samples(self, x: Array) -> tuple[Array, bool]:
        """An array as a view (n, *input_shape), and whether it was a single sample. ValueError."""
        found = self._samples(x)
        if found is None:
            raise FaltungError(
                f"x.shape={x.shape}: must be (n, {', '.join(map(str, self.input_shape))})"
            )
        return found

    def _divided(self, x: Array) -> Array:
        """Stored numbers as the network was trained to see them."""
        if self.units is None or self.tokens:
            return x
        divisor = self.divisor(self.units.seen(x))
        return x if divisor == 1 else scaled(x, divisor)

    def divisor(self, seen: Units | None) -> float:
        """What stored numbers are divided by, of which that much was seen; with a warning where
        they are far from the training.
        """
        if self.units is None:
            return 1.0
        if seen is None:
            return self.units.scale
        divisor, said = self.units.divisor(seen), self.units.note(seen)
        if said and divisor == self.units.scale:  # not converted
            warnings.warn(f"x: {said}", RuntimeWarning, stacklevel=5)
        return divisor

    def prepared(self, x: Array) -> Array:
        """Samples as ``program`` takes them: divided and standardised as in training, of the dtype
        of the network; or tokens in range.
        """
        return self.standardised(self._divided(x))

    def standardised(self, x: Array) -> Array:
        """Samples as a source reads them, standardised, of the network's dtype; tokens in range."""
        if self.tokens:
            return self.checked_tokens(x)
        if x.dtype.kind not in "fiub":
            raise FaltungTypeError(f"x.dtype={x.dtype}: must be real numbers")
        if self.standard is not None:
            x = self.standard(np.asarray(x, np.float32))
        return np.asarray(x, self.graph.dtype)

    def checked_tokens(self, x: Array) -> Array:
        """Tokens as int64. ValueError: one without a row in the embedding."""
        tables = [
            node.inputs[1].shape[0] for node in self.graph.nodes if isinstance(node.op, Embed)
        ]
        from faltung.methods.rows.embedding import check_tokens

        return check_tokens(x, min(tables))

    def _outputs(
        self,
        read: Callable[[Array], Array],
        count: int,
        softmax: bool,
        finished: bool = True,
    ) -> Array:
        """The outputs of samples that are read by their numbers, some at once; the last batch is
        filled up with zeros.
        """
        made = empty((count, *self.graph.output.shape), self.graph.dtype)
        start = 0
        with self._lock:
            for batch in batches(count, self._at_once):
                end = min(start + batch, count)
                part = self.standardised(read(np.arange(start, end)))
                rest = batch - len(part)
                if rest:
                    part = np.concatenate([part, np.zeros((rest, *part.shape[1:]), part.dtype)])
                made[start:end] = self.program(batch, softmax=softmax)(part)[: end - start]
                start = end
        return made if softmax or not finished else self.unscaled(made)
