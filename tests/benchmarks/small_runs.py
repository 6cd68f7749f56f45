"""A small run with fixed numbers, for the tests of statistics, goals and page."""

from dataclasses import replace

from benchmarks.protocol import INFERENCE, NETWORKS, STEP, TRAINING
from benchmarks.results import FAILED, UNABLE, Cost, Outcome, Row, Run, Session, timed


def row(
    name: str, text: str, *, direction: str = "forward", core: bool = True, **microseconds: int
) -> Row:
    """A row whose peers took so many microseconds; ``_`` in a name stands for ``-``."""
    outcomes = {
        peer.replace("_", "-"): timed([[us * 1000, us * 2000], [us * 1500]], 1e-7)
        for peer, us in microseconds.items()
    }
    return Row(name, text, direction, core, outcomes)


def small_run(threads: int = 2, peak: float | None = 480.0) -> Run:
    rows = [
        row("won", "n1 c64>64 56x56 k3 p1", faltung=500, torch=560, torch_nhwc=520, jax=1000),
        row("lost", "n1 c128>128 28x28 k3 p1", faltung=540, torch=530, torch_nhwc=600, jax=135),
        row("double", "n1 c64>64 56x56 k3 p1 f64", faltung=1000, torch=4000),
        row("signal", "n1 c1>1 1000000 k101 p50", faltung=1000, torch=60000, scipy_oaconvolve=7000),
        row("won", "n1 c64>64 56x56 k3 p1", direction="input_grad", faltung=500, torch=1000),
    ]
    rows[0].outcomes["scipy-oaconvolve"] = Outcome(UNABLE, reason="one channel alone")
    rows[1].outcomes["ncnn"] = Outcome(FAILED, reason="the process ended with code -11")
    versions = {
        "faltung": "0.1.0",
        "torch": "2.13.0",
        "torch-nhwc": "2.13.0",
        "jax": "0.10",
        "ncnn": "1.0",
        "scipy-oaconvolve": "1.17",
    }
    missing = {"openvino": "openvino is not installed (No module named 'openvino')"}
    machine = {"processor": "A processor", "cores": "2 usable of 2"}
    return Run("2030-01-02 03:04", machine, threads, 2, 0.15, versions, missing, peak, 1.5, rows)


def _without_layers(subject: str, rows: list[Row]) -> Run:
    """The same run about something else."""
    return replace(small_run(), subject=subject, rows=rows)


def network_run() -> Run:
    """Networks at inference; times in milliseconds."""
    lenet = row("LeNet-5", "lenet5 1x28x28 n1", direction=INFERENCE, faltung=20, onnxruntime=16)
    resnet = row(
        "ResNet-18", "resnet18 3x224x224 n1", direction=INFERENCE, faltung=9000, torch_nhwc=14000
    )
    resnet.outcomes["torch"] = Outcome(FAILED, reason="out of memory")
    costs = {"faltung": Cost(3.25, 0.125)}
    resnet = replace(resnet, parameters=11_689_512, operations=3_628_000_000, costs=costs)
    return _without_layers(NETWORKS, [lenet, resnet])


def training_run() -> Run:
    """Steps of training."""
    small = row(
        "Inception (small)", "googlenet 1x8x8 n32", core=False, direction=STEP, faltung=2000
    )
    small = replace(small, costs={"faltung": Cost(6.0, 0.25, 8 << 20)})
    series = row("1-D net", "series 9x128 n64 classes=6", direction=STEP, faltung=5000, torch=9000)
    series = replace(
        series, costs={"faltung": Cost(2.0, 0.2, 16 << 20), "torch": Cost(peak_bytes=24 << 20)}
    )
    run = _without_layers(TRAINING, [small, series])
    done = Session("faltung train digits", 15.0, 11.0, 0.9889)
    broken = Session("faltung train digits --net inception", reason="ended with code 2: no")
    return replace(run, sessions=[done, broken])
