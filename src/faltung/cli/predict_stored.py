"""``faltung predict RUN FILE --out OUT``: a picture larger than memory, from disk to disk."""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from faltung.cli.line import DONE, IN_PART, line
from faltung.cli.tiles_progress import tiles_progress
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    from faltung.data.boxes import Boxes
    from faltung.data.stored_pictures import Stored
    from faltung.data.zarr_store import Target
    from faltung.train.any_size import Piece, Tiled
    from faltung.train.model import Model

# The longest side of a chunk that is written; a tile may be several.
LONGEST_CHUNK = 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of pictures that are predicted from disk to disk."""
    group = parser.add_argument_group("pictures larger than memory")
    group.add_argument(
        "--out",
        metavar="ZARR",
        help="write the class of every position, or the numbers, to a Zarr array, tile by tile; "
        "FILE is a Zarr array, an OME-Zarr or a TIFF of any size; started again, it goes on",
    )
    group.add_argument(
        "--probabilities", action="store_true", help="with --out: probabilities instead of classes"
    )
    group.add_argument("--level", type=int, default=0, help="with --out: of a pyramid; 0: largest")
    group.add_argument("--tile", type=int, help="with --out: positions of a tile along each axis")
    group.add_argument(
        "--dense", action="store_true", help="with --out: the network of a classifier, made dense"
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the Zarr array of --out, or the table of --csv, that is there",
    )


def run(arguments: argparse.Namespace) -> int:
    """Predict one stored picture; 1 if outputs are not finite somewhere."""
    from faltung.train.opened import open_model

    if len(arguments.files) > 1:
        raise FaltungError(f"--out={arguments.out}: is for one FILE, got {len(arguments.files)}")
    model = open_model(arguments.run_folder)
    if arguments.dense:
        model = model.dense()
    if not model.graph.output.space:
        raise FaltungError(
            f"{arguments.run_folder}: its network has one answer for a whole picture; with --dense "
            "it has one for every position"
        )
    job = _Job.of(model, arguments)
    return job.run()


@dataclass
class _Job:
    """What is computed, and where it goes. count: channels of the output array; None: the label."""

    tiled: "Tiled"
    target: "Target"
    boxes: "Boxes"
    count: int | None
    name: str

    @staticmethod
    def of(model: "Model", arguments: argparse.Namespace) -> "_Job":
        from faltung.data.stored_pictures import open_stored
        from faltung.train.any_size import Tiled

        path, out = Path(arguments.files[0]), Path(arguments.out)
        stored = open_stored(path, arguments.level)
        boxes = _boxes(stored, model)
        labels = model.targets == "labels" and not arguments.probabilities
        count = None if labels else model.graph.output.channels
        place = out / "0" if stored.ome else out
        task = _task(model, path, stored, labels, arguments)
        before = _begun(place, task)
        tiled = Tiled(
            model,
            boxes,
            softmax=model.targets in ("labels", "flags"),
            tile=before.get("tile", arguments.tile),
            divisor=before.get("divisor"),
        )
        if tiled.divisor is None:
            tiled.divisor = model.divisor(boxes.seen(model.units))
        target = _opened(place, task, tiled, labels, model, arguments.overwrite)
        if stored.ome:
            _describe(out, stored, boxes, tiled, count, model)
        return _Job(tiled, target, boxes, count, arguments.out)

    def run(self) -> int:
        """Compute what is left to do."""
        import numpy as np

        from faltung.data.prefetch import prefetch

        pieces = {self._key(piece): piece for piece in self.tiled.pieces()}
        regions = [self._region(piece) for piece in pieces.values()]
        left = {_ends(region) for region in self.target.left(regions)}
        todo = [piece for key, piece in pieces.items() if key in left]
        start, bad = perf_counter(), 0
        with tiles_progress(len(pieces), len(pieces) - len(todo)) as show:
            for piece, made in prefetch(lambda: self.tiled.results(todo), 1):
                bad += int(np.count_nonzero(~np.isfinite(made).all(0)))
                region = self._region(piece)
                values = made.argmax(0) if self.count is None else made
                shape = tuple(part.stop - part.start for part in region)
                self.target.write(region, values.reshape(shape).astype(self.target.dtype))
                show.done()
        self.target.finish()
        by = "x".join(map(str, self.target.shape))
        print(f"{line(self.name)}: {by} {self.target.dtype}, {len(todo)} of {len(pieces)} tiles in "
              f"{perf_counter() - start:.1f} s")  # fmt: skip
        if bad:
            said = "the network's output is not finite; are the values too large?"
            print(f"faltung predict: at {bad:,} positions {said}", file=sys.stderr)
        return IN_PART if bad else DONE

    def _key(self, piece: "Piece") -> tuple[tuple[int, int], ...]:
        return _ends(self._region(piece))

    def _region(self, piece: "Piece") -> tuple[slice, ...]:
        return _region(self.boxes, piece.sample, self.count, piece.window)


def _ends(region: Sequence[slice]) -> tuple[tuple[int, int], ...]:
    return tuple((part.start, part.stop) for part in region)


# Input and output ---------------------------------------------------------------------------------


def _boxes(stored: "Stored", model: "Model") -> "Boxes":
    """The stored array as samples of the network. ValueError: it has other axes or channels."""
    from faltung.data.boxes import Boxes
    from faltung.data.stored_pictures import Arranged

    channels, rank = model.input_shape[0], len(model.input_shape) - 1
    if not stored.axes:
        return Boxes.of(stored.array, model.input_shape, model.layout)
    source = Arranged(stored, rank)
    has = len(source.shape) > rank + 1
    found = source.shape[1] if has else 1
    if found != channels:
        raise FaltungError(
            f"axes={stored.axes}, shape={tuple(stored.array.shape)}: has {found} channels, the "
            f"network reads {channels}"
        )
    return Boxes(source, False, 1 if has else None)


def _region(boxes: "Boxes", sample: int, count: int | None, window: Any) -> tuple[slice, ...]:
    """Where a tile lies in the output."""
    from faltung.data.stored_pictures import Arranged

    if isinstance(boxes.source, Arranged):
        return boxes.source.region(sample, count, window)
    space = [slice(*span) for span in window]
    channels = [] if count is None else [slice(0, count)]
    return (*([] if boxes.single else [slice(sample, sample + 1)]), *channels, *space)


def _shape(boxes: "Boxes", count: int | None, space: Sequence[int]) -> tuple[int, ...]:
    """The shape of the output."""
    from faltung.data.stored_pictures import Arranged

    if isinstance(boxes.source, Arranged):
        return boxes.source.like(count, space)
    channels = [] if count is None else [count]
    return (*([] if boxes.single else [boxes.count]), *channels, *space)


def _chunks(tiled: "Tiled", count: int | None) -> tuple[int, ...]:
    """The chunks of the output: of one sample, all channels, a part of a tile."""
    window = [(0, _chunk(side)) for side in tiled.tile]
    return tuple(part.stop - part.start for part in _region(tiled.boxes, 0, count, window))


def _chunk(side: int) -> int:
    """The side of the chunks of a tile, which divides it."""
    parts = next(n for n in range(1, side + 1) if side % n == 0 and side // n <= LONGEST_CHUNK)
    return side // parts


def _task(
    model: "Model", path: Path, stored: "Stored", labels: bool, arguments: argparse.Namespace
) -> str:
    """What is computed, as a digest: the network and its weights, the input, what is asked for."""
    said = hashlib.sha256()
    about: dict[str, Any] = {
        "model": model.about(),
        "input": [str(path.resolve()), path.stat().st_mtime_ns, arguments.level],
        "shape": [list(stored.array.shape), str(stored.array.dtype)],
        "labels": labels,
        "tile": arguments.tile,
    }
    said.update(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(model.parameters.items()):
        said.update(name.encode())
        said.update(value.tobytes())
    return f"faltung predict {said.hexdigest()}"


def _begun(place: Path, task: str) -> Mapping[str, Any]:
    """What an interrupted run of the same task has written down; nothing if there was none."""
    from faltung.data import regions
    from faltung.data.zarr_checked import attributes_of, metadata_of

    found = regions.read(place) if place.is_dir() else None
    if found is None or found.task != task:
        return {}
    known = attributes_of(metadata_of(place) or {}).get("faltung")
    return known if isinstance(known, dict) else {}


def _opened(
    place: Path,
    task: str,
    tiled: "Tiled",
    labels: bool,
    model: "Model",
    overwrite: bool,
) -> "Target":
    """The array that is written, new or begun."""
    import numpy as np

    from faltung.data.zarr_store import open_target

    channels = tiled.sample_shape[0]
    count = None if labels else channels
    classes = list(model.classes or map(str, range(channels)))
    dtype = np.min_scalar_type(channels - 1) if labels else tiled.dtype
    known: dict[str, Any] = {"tile": list(tiled.tile), "divisor": tiled.divisor}
    if model.targets in ("labels", "flags"):
        known["classes"] = classes
    return open_target(
        place,
        task,
        shape=_shape(tiled.boxes, count, tiled.sample_shape[1:]),
        dtype=dtype,
        chunks=_chunks(tiled, count),
        attributes={"faltung": known},
        overwrite=overwrite,
    )


def _describe(
    out: Path,
    stored: "Stored",
    boxes: "Boxes",
    tiled: "Tiled",
    count: int | None,
    model: "Model",
) -> None:
    """The metadata of an OME-Zarr around the array: the axes of the input, and how large an entry
    is.
    """
    from faltung.formats.files import write_whole

    names = boxes.source.names(stored.axes, count)
    given = {axis["name"].lower(): axis for axis in stored.ome["axes"] if isinstance(axis, dict)}
    axes = [given.get(n, {"name": n, "type": "channel" if n == "c" else "space"}) for n in names]
    larger = dict(
        zip(
            [n for n in names if n in "zyx"][-len(tiled.boxes.space) :],
            (a / b for a, b in zip(boxes.space, tiled.sample_shape[1:], strict=True)),
            strict=True,
        )
    )
    scale: dict[str, float] = {}
    for each in stored.ome.get("coordinateTransformations", []):
        if isinstance(each, dict) and each.get("type") == "scale":
            scale = dict(zip(stored.axes, each.get("scale", ()), strict=False))
    made = [float(scale.get(n, 1.0)) * larger.get(n, 1.0) for n in names]
    multiscales = {
        "axes": axes,
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": made}]}
        ],
    }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscales]}
    if count is None:
        named = model.classes or ()
        properties = [{"label-value": i, "class": name} for i, name in enumerate(named)]
        ome["image-label"] = {"version": "0.5", "properties": properties}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    write_whole(out / "zarr.json", json.dumps(group, indent=2).encode(), own=True)
