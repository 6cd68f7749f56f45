"""Models from elsewhere and for elsewhere: files, runs, other programs, and other outputs."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from faltung.data.names import class_list, listing
from faltung.data.standard import Standard
from faltung.formats.extras import missing
from faltung.geometry.check import integers, is_sequence, one_of, show, truth, whole
from faltung.geometry.check import path as check_path
from faltung.geometry.conv import KEPT, Kept
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.train.freezing import layer_of, layers
from faltung.train.network import Network
from faltung.train.transfer import take_matching, with_outputs

# What ``export`` writes, by the endings of files.
SUFFIXES = (".onnx", ".safetensors")
# What to do for files that it does not write.
INSTEAD = {
    **dict.fromkeys(
        (".pt", ".pth", ".bin"),
        "for PyTorch, torch.save(model.to_torch().state_dict(), path)",
    ),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "pickle.dump and joblib.dump take a model"),
}


class Exchange(Network):
    """A network with its ways in and out; ``Model`` adds training."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, dtype: Kept | None = None) -> Self:
        """The model of a run, or of a file that ``save`` wrote. Nothing in a file is executed.

        Parameters
        ----------
        path : path-like
            The folder of a run (also of a compressed one), its ``best.safetensors``, or a file that
            ``save``, ``export`` or `faltung export` wrote.
        dtype : {"float32", "float64", "float16", "bfloat16"}, optional
            In which dtype, as ``astype``; by default that of the file.

        Returns
        -------
        Model
            With the parameters, classes and standardisation that it was saved with; of a run with
            its best weights.

        Raises
        ------
        ValueError
            Something else, or a file of another version, or with a tensor that is missing, unknown
            or of another shape. The message says what reads the path instead.
        OSError
            It cannot be read.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> Model(nn.Linear(2), (3,)).save("two.safetensors")
        >>> Model.load("two.safetensors")
        <Model (3,) -> (2,), 8 parameters>
        """
        if dtype is not None:
            one_of("dtype", dtype, KEPT)
        made: Self = import_module("faltung.train.opened").opened(path, cls).model
        return made if dtype is None or dtype == made.dtype else made.astype(dtype)

    def export(
        self, path: str | os.PathLike[str], *, dtype: Kept | None = None, coded: bool = False
    ) -> None:
        """Write the network for other programs: as ONNX, or as safetensors.

        Parameters
        ----------
        path : path-like
            Where to. Its ending says what is written: "model.onnx", or "model.safetensors", which
            ``save`` writes too. A file that is there is replaced, whole or not at all.
        dtype : {"float32", "float64", "float16", "bfloat16"}, optional
            What the file keeps the weights in, as ``astype``; by default that of the model.
        coded : bool
            As in ``save``; not for ONNX.

        Raises
        ------
        ValueError
            Another ending: the message says what to do instead. ``coded`` ONNX.
        UnsupportedError
            An operation without a form in ONNX.
        OSError
            The file cannot be written.

        Notes
        -----
        In ONNX the standardisation is the first layer: "input" takes samples as they are read,
        pictures from 0 to 1, any number of them. "output" is the result of the last layer, before
        any softmax.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> model = Model(nn.Conv(4, 3), (1, 8, 8))
        >>> model.export("conv.onnx")
        >>> Model.from_onnx("conv.onnx")
        <Model (1, 8, 8) -> (4, 6, 6), 40 parameters>
        """
        where = Path(check_path("path", path))
        if dtype is not None:
            one_of("dtype", dtype, KEPT)
        check_suffix(where)
        if truth("coded", coded) and where.suffix.lower() == ".onnx":
            raise FaltungError("coded=True: is for model.safetensors, not for ONNX")
        import_module("faltung.train.run_model").export(self, where, dtype, coded=coded)

    @classmethod
    def from_onnx(
        cls,
        model: str | os.PathLike[str] | bytes,
        input_shape: Sequence[int] | None = None,
        *,
        classes: Sequence[str] | None = None,
    ) -> Self:
        """A model from an ONNX file, to be trained further, saved, looked at.

        Its layers are those of the file; ``with_outputs`` of them changes the last one. To run a
        file as it is, with several inputs and outputs, use ``faltung.onnx.load``.

        Parameters
        ----------
        model : path-like or bytes
            The file, or what is in it.
        input_shape : sequence of int, optional
            The shape of one sample, ``(channels, *space)``; where the file leaves sizes free it
            must be given.
        classes : sequence of str, optional
            Names of the outputs.

        Returns
        -------
        Model
            Of the first output of the file. Where that ends in a softmax, ``predict`` gives
            probabilities.

        Raises
        ------
        FaltungError, UnsupportedError
            No ONNX model, one with several inputs, or one that is not a network of ours: operators
            that run on the host.
        OSError
            The file cannot be read.
        ImportError
            ``onnx`` is not installed.

        Examples
        --------
        >>> import faltung
        >>> from faltung.formats.onnx_export import export_onnx
        >>> net = faltung.Model(faltung.nn.Conv(2, 3), (1, 5, 5))
        >>> faltung.Model.from_onnx(export_onnx(net.graph, net.parameters))
        <Model (1, 5, 5) -> (2, 3, 3), 20 parameters>
        """
        made: Self = import_module("faltung.onnx.layer").from_onnx(cls, model, input_shape, classes)
        return made

    @classmethod
    def pretrained(
        cls,
        weights: str | os.PathLike[str],
        net: str | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        standard: Standard | None = None,
        **options: Any,
    ) -> Self:
        """A network that somebody else has trained, to start from: ``with_outputs`` gives it
        another head.

        Parameters
        ----------
        weights : path-like
            A file that torchvision or timm wrote: safetensors, or a state dict of ``torch.save``
            (.pth, .pt, .bin), which is read without PyTorch, and of which nothing is executed. Or
            the name of weights in the package ``faltung-weights``.
        net : str, optional
            The network of ``faltung.nets`` that such a file belongs to, as "resnet18". The package
            says it itself.
        input_shape : sequence of int, optional
            The shape of one sample, ``(channels, *space)``; by default that of the paper, or of the
            training.
        classes : sequence of str, optional
            Names of the outputs.
        standard : Standard, optional
            The mean and standard deviation that the network expects of pictures from 0 to 1; by
            default those that torchvision or timm use for it, ImageNet's as a rule.
        **options
            Of the network, as for ``nets.get``.

        Returns
        -------
        Model
            Without the head of the file, if it has none, with one that is not trained.

        Raises
        ------
        ValueError, TypeError
            Weights of another network, or no weights.
        OSError
            The file cannot be read.
        ImportError
            ``faltung-weights`` is asked for and not installed.

        Examples
        --------
        >>> from faltung import Model
        >>> model = Model.pretrained("resnet18.pth", "resnet18")  # doctest: +SKIP
        >>> model.with_outputs(["cat", "dog"])  # doctest: +SKIP
        <Model (3, 224, 224) -> (2,), 11,177,538 parameters, classes cat, dog>
        """
        find: Any = import_module("faltung.train.pretrained").pretrained
        about = {"input_shape": input_shape, "classes": classes, "standard": standard}
        made: Self = find(cls, weights, net, **about, **options)
        return made

    def at_shape(self, input_shape: Sequence[int]) -> Self:
        """The same network with the same parameters for samples of another size.

        Parameters
        ----------
        input_shape : sequence of int
            The shape of one sample, ``(channels, *space)``.

        Returns
        -------
        Model
            A copy; this one is not changed.

        Raises
        ------
        ValueError
            A network whose parameters depend on the size, as those of a linear layer behind a map.

        Examples
        --------
        >>> from faltung import Model, nets
        >>> small = Model(nets.get("resnet18", classes=9, input_shape=(3, 32, 32)), (3, 32, 32))
        >>> small.at_shape((3, 48, 64)).input_shape
        (3, 48, 64)
        """
        shape = integers("input_shape", input_shape)
        with self._lock:
            made = type(self).from_about({**self.about(), "input_shape": list(shape)})
            for new, old in zip(
                made.training_graph.parameters, self.training_graph.parameters, strict=True
            ):
                if new.shape != old.shape:
                    raise FaltungError(
                        f"input_shape={shape}: {layer_of(old.name)} of this network fits samples "
                        f"of {self.input_shape} alone"
                    )
            made.set_parameters(self.parameters)
        return made

    def with_outputs(self, outputs: int | Sequence[str], *, seed: int = 0) -> Self:
        """The same network with another head: its last layer anew, for other outputs.

        For transfer learning: ``fit`` of the copy goes on from the features of this model, with
        ``freeze="all-but-last"`` for the head alone.

        Parameters
        ----------
        outputs : int or sequence of str
            How many, or the names of the classes.
        seed : int
            Of the first parameters of the last layer.

        Returns
        -------
        Model
            A copy; this one is not changed. It reads samples as this one does.

        Raises
        ------
        ValueError, TypeError
            Neither; a network whose last layer has no number of outputs that could be changed.

        Examples
        --------
        >>> from faltung import Model, nets
        >>> digits = Model(nets.get("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28))
        >>> digits.with_outputs(["cat", "dog"])
        <Model (1, 28, 28) -> (2,), 61,026 parameters, classes cat, dog>
        """
        classes = class_list(outputs) if is_sequence(outputs) else None  # type: ignore[arg-type]
        count = whole("outputs", outputs, 1) if classes is None else len(classes)
        net = with_outputs(self.net, count)
        if net is None:
            raise FaltungError(
                f"outputs={show(outputs)}: the last layer of this network is none whose outputs "
                "can be changed"
            )
        with self._lock:
            about = {**self.about(), "net": repr(net), "classes": classes, "loss": None}
            made = type(self).from_about(about, seed=seed)
            head = layers(made.graph)[-1]
            anew = {n: made.state.get(n) for n in made.state.parameters if layer_of(n) == head}
            take_matching(made, self)
        made.set_parameters(anew)  # also where it has the shape that it had
        if classes is not None:
            made.loss = "cross_entropy"
        return made

    def start_from(self, other: "Network") -> tuple[str, ...]:
        """Take over the parameters of another network where names and shapes are the same.

        For transfer learning: a network of the same layers for other classes, of which all but the
        last layer begin where another training ended. A model that was never trained also takes
        the ``standard`` and the ``units`` of the other, whose parameters expect such inputs.

        Parameters
        ----------
        other : Model
            What to start from. It is not changed.

        Returns
        -------
        tuple of str
            The layers that keep the parameters they have, because the other network lacks them or
            has them in another shape.

        Raises
        ------
        ValueError, TypeError
            No layer is the same, or samples have another shape.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nets
        >>> old = Model(nets.get("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28))
        >>> new = Model(nets.get("lenet5", classes=3, input_shape=(1, 28, 28)), (1, 28, 28))
        >>> new.start_from(old)
        ('linear3',)
        """
        if not isinstance(other, Network):
            raise FaltungTypeError(
                f"other={show(other)}: must be a Model; Model.load reads one from a file"
            )
        return take_matching(self, other)

    def to_torch(self) -> Any:
        """The network as a module of PyTorch, with the same numbers.

        Returns
        -------
        torch.fx.GraphModule
            In evaluation mode, on the CPU, in the dtype of the model. It consists of modules of
            ``torch.nn`` under the names of the layers, and functions of ``torch``: it needs no
            Faltung to run, to be trained or saved. It takes a batch ``(n, *input_shape)`` of
            samples as they are read, pictures from 0 to 1, since a ``standard`` is part of it, and
            gives what comes before a softmax. In training mode batch normalisation, dropout and
            stochastic depth do what they do in ``fit``; auxiliary classifiers are left out.

        Raises
        ------
        UnsupportedError
            An operation without a form in PyTorch; the message names it and its layer.
        ImportError
            PyTorch is not installed.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> module = Model(nn.Conv(4, 3), (1, 8, 8)).to_torch()  # doctest: +SKIP
        >>> module.conv1  # doctest: +SKIP
        Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
        """
        try:
            return import_module("faltung.torch.to_torch").to_torch(self)
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] != "torch":
                raise
            raise missing("torch", "torch") from error


def check_suffix(path: Path) -> None:
    """ValueError: an ending that ``export`` writes no file for, and what to do instead."""
    if path.suffix.lower() in SUFFIXES:
        return
    instead = INSTEAD.get(path.suffix.lower())
    raise FaltungError(
        f"path={str(path)!r}: must end in {listing(SUFFIXES).replace(', ', ' or ')}"
        + ("" if instead is None else f"; {instead}")
    )
