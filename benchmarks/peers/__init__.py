"""The peers: a file and a row each; files for whole networks are in ``networks/``.

A peer's file has ``environment(threads)``, ``start(threads)`` and ``build(problem, variant)``: see
``Implementation``. It imports its library inside ``start`` or later, so that this table can be
read, and the environment set, without the library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from benchmarks.problem import Array
from benchmarks.protocol import (
    DEPTHWISE,
    FILTERS,
    LAYERS,
    NETWORKS,
    ONNX,
    POINTWISE,
    TRAINING,
    WINDOWS,
)


class Missing(Exception):
    """The library is not installed; the message says what to install."""


class Unable(Exception):
    """The peer cannot do this problem; the message is the reason that the page gives."""


@dataclass(frozen=True, slots=True)
class Task:
    """``call()`` is what is timed; ``array()`` gives its result as a channels-first array, or, of
    training steps, the losses of the first calls.

    ``keep`` holds what must live as long as the task because the library borrows its memory.
    """

    call: Callable[[], object]
    array: Callable[[], Array]
    keep: tuple[object, ...] = ()


class Implementation(Protocol):
    """What a peer's file offers."""

    def environment(self, threads: int) -> dict[str, str]:
        """Variables that must be set before the library is imported."""

    def start(self, threads: int) -> str:
        """Import the library, set its threads, return its version; Missing if not installed."""

    def build(self, problem: Any, variant: str) -> Task:
        """Everything that is not timed: copies, layouts, packing, compilation. Unable, why.
        problem: a ``Problem`` or, in ``networks/``, a ``NetworkProblem``."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A row: the file in this folder, the variant that it is asked for, and what it stands for.
    ``slow``: it compiles for so long that it takes part on request."""

    file: str
    variant: str
    about: str
    slow: bool = False


PEERS: dict[str, Peer] = {
    "faltung": Peer("faltung", "nhwc", "`Conv` on channels-last arrays"),
    "faltung-nchw": Peer("faltung", "nchw", "`conv` on channels-first arrays, packed every call"),
    "torch": Peer("torch", "nchw", "eager, `inference_mode`, channels-first"),
    "torch-nhwc": Peer("torch", "nhwc", "the same, `memory_format=channels_last`"),
    "onnxruntime": Peer("onnxruntime", "", "one Conv node, outputs bound, spinning allowed"),
    "openvino": Peer("openvino", "", "latency hint, float32 asked for"),
    "jax": Peer("jax", "", "`jit` of `lax.conv_general_dilated`, channels-last"),
    "ncnn": Peer("ncnn", "", "one layer, no fp16 or bf16; packs and unpacks channels each call"),
    "scipy-ndimage": Peer("scipy", "ndimage", "`ndimage.correlate`, one thread"),
    "scipy-correlate": Peer("scipy", "correlate", '`signal.correlate(method="auto")`, one thread'),
    "scipy-oaconvolve": Peer("scipy", "oaconvolve", "`signal.oaconvolve`, one thread"),
    "scipy-fftconvolve": Peer("scipy", "fftconvolve", "`signal.fftconvolve`, one thread"),
    "torch-fft": Peer("torch", "fft", "`torch.fft` of the whole signal, one channel"),
    "numpy": Peer("numpy", "", "`numpy.correlate`, one thread"),
}

NETWORK_PEERS: dict[str, Peer] = {
    "faltung": Peer("networks.faltung", "call", "`Inference`: copies its input in and output out"),
    "faltung-bound": Peer("networks.faltung", "bound", "the same, input and output in its memory"),
    "torch": Peer("networks.torch", "nchw", "eager, `inference_mode`, channels-first"),
    "torch-nhwc": Peer("networks.torch", "nhwc", "the same, `memory_format=channels_last`"),
    "torch-compile": Peer("networks.torch", "compile", "inductor, weights frozen", slow=True),
    "onnxruntime": Peer("networks.onnxruntime", "", "our ONNX file, input and output bound"),
    "openvino": Peer("networks.openvino", "", "our ONNX file, latency hint, float32 asked for"),
}

STEP_PEERS: dict[str, Peer] = {
    "faltung": Peer("networks.faltung", "step", "`TrainingStep`: copies the batch in"),
    "torch": Peer("networks.torch", "nchw", "eager, fused SGD, channels-first"),
    "torch-nhwc": Peer("networks.torch", "nhwc", "the same, `memory_format=channels_last`"),
    "torch-compile": Peer("networks.torch", "compile", "network and loss compiled", slow=True),
}

WINDOW_PEERS: dict[str, Peer] = {
    "faltung": Peer("windows.faltung", "nhwc", "functions on channels-last arrays"),
    "faltung-nchw": Peer("windows.faltung", "nchw", "functions on channels-first arrays"),
    "torch": Peer("windows.torch", "nchw", "eager, `inference_mode`, channels-first"),
    "torch-nhwc": Peer("windows.torch", "nhwc", "the same, `memory_format=channels_last`"),
    "onnxruntime": Peer("windows.onnxruntime", "", "one node, outputs bound, spinning allowed"),
    "openvino": Peer("windows.openvino", "", "latency hint, float32 asked for"),
    "jax": Peer("windows.jax", "", "`jit` of `lax.conv_general_dilated_local`, channels-last"),
}

FILE_PEERS: dict[str, Peer] = {
    "faltung": Peer("files.faltung", "", "`faltung.onnx.load(path).run`"),
    "onnxruntime": Peer("files.onnxruntime", "", "`InferenceSession.run`, spinning allowed"),
    "openvino": Peer(
        "files.openvino", "", "`infer` on fixed sizes, latency hint, float32 asked for"
    ),
    "ncnn": Peer("files.ncnn", "", "`NAME.ncnn.param` beside the file, no fp16 or bf16; batch 1"),
}

FILTER_PEERS: dict[str, Peer] = {
    "faltung": Peer(
        "filters.faltung", "", "`faltung.ndimage` and `.signal`; the network from Zarr to Zarr"
    ),
    "faltung-array": Peer("filters.faltung", "array", "the network, from memory to memory"),
    "scipy": Peer("filters.scipy", "", "`scipy.ndimage` and `.signal`, one thread"),
    "opencv": Peer("filters.opencv", "", "`cv2`, on pictures"),
    "dask-image": Peer("filters.dask_image", "", "`dask_image.ndfilters`, threads of Dask"),
}

# Peers of a single layer with channels.
LAYER_PEERS = {
    name: PEERS[name]
    for name in (
        "faltung",
        "faltung-nchw",
        "torch",
        "torch-nhwc",
        "onnxruntime",
        "openvino",
        "ncnn",
    )
}

TABLES = {
    LAYERS: PEERS,
    POINTWISE: LAYER_PEERS,
    DEPTHWISE: LAYER_PEERS,
    ONNX: FILE_PEERS,
    NETWORKS: NETWORK_PEERS,
    TRAINING: STEP_PEERS,
    WINDOWS: WINDOW_PEERS,
    FILTERS: FILTER_PEERS,
}

OURS = ("faltung", "faltung-nchw", "faltung-bound")


def implementation(name: str, subject: str = LAYERS) -> Implementation:
    """The peer's file."""
    return cast(Implementation, import_module(f"benchmarks.peers.{TABLES[subject][name].file}"))


def library(name: str) -> Any:
    """Import a library late; Missing names it. Untyped on purpose: peers come and go."""
    try:
        return import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed ({error})") from error


def openmp(threads: int) -> dict[str, str]:
    """Thread counts of OpenMP and of the BLAS libraries that peers bring along."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
