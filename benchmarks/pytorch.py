"""``python -m benchmarks pytorch``: models of PyTorch through Faltung, beside PyTorch's own modes.

Each mode (eager, eager with the channels last, inductor, ``faltung.torch.compile``) has a process
of its own, with the same threads; they take turns, a fifth of a second at a time, and the least
time and the median of each count. Inductor freezes the weights for inference, which makes it
faster. Inputs lie as each mode likes best. Needs torch, torchvision and timm.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.vision import models

MODES = ("eager", "last", "inductor", "faltung")
TURNS = 7
SECONDS = 0.2

# Networks of torchvision and timm for inference, and the sizes of their pictures.
VISION = {
    **dict.fromkeys(
        """
        resnet18 resnet50 wide_resnet50_2 resnext50_32x4d densenet121 vgg16 squeezenet1_1 googlenet
        mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet1_0 regnet_y_400mf efficientnet_b0
        shufflenet_v2_x1_0 convnext_tiny swin_t vit_b_16
        """.split(),
        224,
    ),
    "inception_v3": 299,
    "efficientnet_v2_s": 384,
}
TIMM = {
    **dict.fromkeys(
        """
        resnet50d seresnet50 ecaresnet50t resnetv2_50 res2net50_26w_4s dla34 hrnet_w18_small
        repvgg_a0 ghostnet_100 mobilenetv4_conv_small efficientnet_lite0 convnextv2_nano levit_128
        poolformer_s12 deit_small_patch16_224 pvt_v2_b0 eca_nfnet_l0
        """.split(),
        224,
    ),
    **dict.fromkeys("cspdarknet53 mobilevit_s fastvit_t8".split(), 256),
}


def _picture(name: str, size: int, **options: Any) -> Callable[[int], Any]:
    """A network of torchvision or timm with a batch of pictures."""

    def made(batch: int) -> Any:
        import torch

        if name in TIMM:
            import timm

            net = timm.create_model(name, **options)
        else:
            extra = {"aux_logits": True, "init_weights": True}
            extra = extra if name in ("googlenet", "inception_v3") else {}
            net = getattr(models(), name)(weights=None, **extra, **options)
        return net, torch.randn(batch, 3, size, size)

    return made


def _unet(batch: int) -> Any:
    import torch
    from torch import nn

    def twice(c: int, d: int) -> Any:
        parts = [nn.Conv2d(c, d, 3, padding=1), nn.BatchNorm2d(d), nn.ReLU()]
        return nn.Sequential(*parts, nn.Conv2d(d, d, 3, padding=1), nn.BatchNorm2d(d), nn.ReLU())

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([twice(3, 32), twice(32, 64), twice(64, 128)])
            self.bottom = twice(128, 256)
            self.grow = nn.ModuleList([nn.ConvTranspose2d(2 * c, c, 2, 2) for c in (128, 64, 32)])
            self.up = nn.ModuleList([twice(2 * c, c) for c in (128, 64, 32)])
            self.head = nn.Conv2d(32, 10, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for part in self.down:
                x = part(x)
                kept.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = self.bottom(x)
            for grow, part in zip(self.grow, self.up, strict=True):
                x = part(torch.cat([grow(x), kept.pop()], 1))
            return self.head(x).mean((2, 3))

    return UNet(), torch.randn(batch, 3, 96, 96)


def _signal(batch: int) -> Any:
    import torch
    from torch import nn

    parts: list[Any] = []
    channels = 9
    for i in range(5):
        conv = nn.Conv1d(channels, 64, 5, padding=2 * 2**i, dilation=2**i)
        parts += [conv, nn.BatchNorm1d(64), nn.ReLU()]
        channels = 64
    parts += [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*parts), torch.randn(batch, 9, 256)


def _volume(batch: int) -> Any:
    import torch
    from torch import nn

    parts: list[Any] = []
    channels = 1
    for width in (16, 32, 64):
        conv = nn.Conv3d(channels, width, 3, padding=1)
        parts += [conv, nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2)]
        channels = width
    parts += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*parts), torch.randn(batch, 1, 32, 32, 32)


def _vit(batch: int) -> Any:
    import torch

    vit = models().VisionTransformer
    options = {"num_layers": 6, "num_heads": 4, "hidden_dim": 192, "mlp_dim": 768}
    net = vit(image_size=64, patch_size=8, num_classes=10, **options)
    return net, torch.randn(batch, 3, 64, 64)


# Steps of training: the network with its batch, and how many samples that has.
TRAINING: dict[str, tuple[Callable[[int], Any], int]] = {
    "resnet18, 32x32": (_picture("resnet18", 32, num_classes=10), 32),
    "resnet50, 96x96": (_picture("resnet50", 96, num_classes=10), 8),
    "vgg11, 64x64": (_picture("vgg11_bn", 64, num_classes=10), 8),
    "mobilenet_v2, 96x96": (_picture("mobilenet_v2", 96, num_classes=10), 16),
    "efficientnet_b0, 96x96": (_picture("efficientnet_b0", 96, num_classes=10), 8),
    "densenet121, 64x64": (_picture("densenet121", 64, num_classes=10), 8),
    "regnet_y_400mf, 96x96": (_picture("regnet_y_400mf", 96, num_classes=10), 16),
    "convnext_tiny, 64x64": (_picture("convnext_tiny", 64, num_classes=10), 8),
    "small ViT, 64x64": (_vit, 16),
    "U-Net, 96x96": (_unet, 8),
    "1-D, dilated, 9x256": (_signal, 64),
    "3-D, 32x32x32": (_volume, 4),
}
INFERENCE = {name: _picture(name, size) for name, size in (VISION | TIMM).items()}


# A process of one mode --------------------------------------------------------------------------


def _layout(x: Any, net: Any) -> tuple[Any, Any]:
    """The channels last, where a picture has a layout for that."""
    import torch

    if x.dim() != 4:
        return x, net
    return x.contiguous(memory_format=torch.channels_last), net.to(
        memory_format=torch.channels_last
    )


def _call(subject: str, name: str, mode: str, batch: int) -> Callable[[], object]:
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    net, x = INFERENCE[name](batch) if subject == "networks" else TRAINING[name][0](batch)
    net.train(subject == "training")
    if mode in ("last", "inductor"):
        x, net = _layout(x, net)
    run = net
    if mode == "inductor":
        if subject == "networks":
            import torch._inductor.config as inductor

            inductor.freezing = True
        run = torch.compile(net)
    elif mode == "faltung":
        import faltung.torch

        run = faltung.torch.compile(net)
    if subject == "networks":
        net.requires_grad_(False)

        def infer() -> object:
            with torch.no_grad():
                return run(x)

        return infer
    target = torch.arange(batch) % 10
    step = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)

    def train() -> object:
        step.zero_grad()
        loss = F.cross_entropy(run(x), target)
        loss.backward()
        step.step()
        return loss.detach()

    return train


def work(subject: str, name: str, mode: str, batch: int, threads: int) -> None:
    """Answers each line of the standard input with times."""
    import resource

    import torch

    torch.set_num_threads(threads)
    call = _call(subject, name, mode, batch)
    call()
    call()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        times: list[float] = []
        end = time.perf_counter() + SECONDS
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"times": times, "peak": peak}), flush=True)


# All modes in turns -----------------------------------------------------------------------------


@dataclass
class Worker:
    """The process of a mode. ready: whether its first call has succeeded."""

    mode: str
    process: subprocess.Popen[str]
    ready: bool = False

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line.strip() else None

    def turn(self) -> Any:
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)
        return self.answer()


def compared(
    subject: str, name: str, batch: int, threads: int, modes: Sequence[str], turns: int
) -> dict[str, Any]:
    """Of each mode the least time and the median, in seconds, and the peak of memory in kB."""
    workers = []
    for mode in modes:
        words = ["--work", mode, "--batch", str(batch), "--threads", str(threads), "--set", subject]
        command = [sys.executable, "-m", "benchmarks", "pytorch", *words, name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers.append(Worker(mode, subprocess.Popen(command, **pipes)))  # type: ignore[call-overload]
    for worker in workers:  # all of them start at once
        worker.ready = worker.answer() is not None
    found: dict[str, Any] = {}
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    for _ in range(turns):
        for worker in workers:
            if not worker.ready:
                continue
            answer = worker.turn()
            times[worker.mode] += answer["times"]
            found[worker.mode] = {"peak": answer["peak"]}
    for worker in workers:
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        worker.process.wait()
        took = sorted(times[worker.mode])
        if took:
            found[worker.mode] |= {"least": took[0], "median": took[len(took) // 2]}
    return found


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table, the losses first."""
    lines = [
        "| | batch | eager | channels last | inductor | Faltung | against the best |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios: dict[int, list[float]] = {}
    body = []
    for row in rows:
        found = row["found"]
        if "faltung" not in found:
            body.append((0.0, f"| {row['name']} | {row['batch']} | | | | failed | |"))
            continue
        others = [found[mode]["least"] for mode in MODES[:-1] if mode in found]
        ratio = min(others, default=math.nan) / found["faltung"]["least"]
        if others:
            kind = 0 if row["set"] == "training" else row["batch"]
            ratios.setdefault(kind, []).append(ratio)
        cells = [f"{1e3 * found[m]['least']:.2f}" if m in found else "" for m in MODES]
        line = f"| {row['name']} | {row['batch']} | {' | '.join(cells)} | {ratio:.2f} |"
        body.append((ratio, line))
    lines += [line for _, line in sorted(body)]
    for batch, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        what = f"batch {batch}" if batch else "training"
        lines.append(
            f"\n{what}: geometric mean {mean:.2f}, least {min(values):.2f}, of {len(values)}"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pytorch", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks; all by default")
    parser.add_argument("--set", choices=("networks", "training"), default="networks")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument(
        "--out", type=Path, help="a file of JSON lines to add to; what is there is left out"
    )
    parser.add_argument("--page", action="store_true", help="print what is in the file as a table")
    parser.add_argument("--work", choices=MODES, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        work(given.set, given.names[0], given.work, given.batch[0], given.threads)
        return 0
    rows = []
    if given.out is not None and given.out.exists():
        rows = [json.loads(line) for line in given.out.read_text().splitlines()]
    if given.page:
        print(page(rows))
        return 0
    table = INFERENCE if given.set == "networks" else TRAINING
    for name in given.names or table:
        for batch in given.batch if given.set == "networks" else [TRAINING[name][1]]:
            if any(
                (row["set"], row["name"], row["batch"]) == (given.set, name, batch) for row in rows
            ):
                continue
            found = compared(given.set, name, batch, given.threads, given.modes, given.turns)
            row = {"set": given.set, "name": name, "batch": batch, "found": found}
            rows.append(row)
            if given.out is not None:
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            said = ", ".join(f"{m} {1e3 * f['least']:.2f} ms" for m, f in found.items() if f)
            print(f"{name}, batch {batch}: {said}", flush=True)
    print(page(rows))
    return 0
