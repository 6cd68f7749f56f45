"""The peers: a file and a row each.

A peer's file has ``environment(threads)``, ``start(threads)`` and ``build(problem, variant)``: see
``Implementation``. It imports its library inside ``start`` or later, so that this table can be
read, and the environment set, without the library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from benchmarks.problem import Array, Problem


class Missing(Exception):
    """The library is not installed; the message says what to install."""


class Unable(Exception):
    """The peer cannot do this problem; the message is the reason that the page gives."""


@dataclass(frozen=True, slots=True)
class Task:
    """``call()`` is what is timed; ``array()`` gives its result as a channels-first array.

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

    def build(self, problem: Problem, variant: str) -> Task:
        """Everything that is not timed: copies, layouts, packing, compilation. Unable, why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A row: the file in this folder, the variant that it is asked for, and what it stands for."""

    file: str
    variant: str
    about: str


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
    "numpy": Peer("numpy", "", "`numpy.correlate`, one thread"),
}

OURS = ("faltung", "faltung-nchw")


def implementation(name: str) -> Implementation:
    """The peer's file."""
    return cast(Implementation, import_module(f"benchmarks.peers.{PEERS[name].file}"))


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
