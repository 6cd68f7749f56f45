"""One of several processes that train together, as torchrun starts it: ours beside eager.

    python -m torch.distributed.run --nproc-per-node 2 tests/torch_ddp.py FOLDER

Writes what its rank has seen to a file in FOLDER.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import faltung.torch.backend
from faltung.runtime.team import Region
from faltung.torch.threads import join, threads

STEPS = 4


class Conv(nn.Conv2d):
    """By an operator of ours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return faltung.torch.conv2d(x, self.weight, padding="same")


def network(conv: type[nn.Conv2d]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        conv(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        conv(8, 16, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 6 * 6, 5),
    )


MODELS = {
    "eager": lambda: DistributedDataParallel(network(nn.Conv2d)),
    "convolutions": lambda: DistributedDataParallel(network(Conv)),
    "backend": lambda: DistributedDataParallel(
        torch.compile(network(nn.Conv2d), backend=faltung.torch.backend.faltung)
    ),
    "compiled": lambda: DistributedDataParallel(faltung.torch.compile(network(nn.Conv2d))),
}


class Counted:
    """How many regions of ours have run."""

    def __init__(self) -> None:
        self.number, run = 0, Region.run

        def counted(region: Region, threads: int) -> int:
            self.number += 1
            return run(region, threads)

        Region.run = counted  # type: ignore[method-assign]


def train(model: DistributedDataParallel, rank: int) -> dict[str, Any]:
    """Losses, all gradients and the state at the end. Each rank has pictures of its own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    pictures = torch.Generator().manual_seed(100 + rank)
    losses, gradients = [], []
    for step in range(STEPS):
        x = torch.randn(6, 3, 12, 12, generator=pictures)
        y = torch.randint(5, (6,), generator=pictures)
        if step == 2:  # gradients of two batches are added up, and exchanged once
            with model.no_sync():
                nn.functional.cross_entropy(model(x.flip(0)), y.flip(0)).backward()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        gradients += [p.grad.flatten().clone() for p in model.parameters()]
        optimizer.step()
        optimizer.zero_grad()
    state = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"losses": losses, "gradients": torch.cat(gradients), "state": state}


def same_everywhere(x: torch.Tensor) -> bool:
    every = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(every, x)
    return all(torch.equal(x, other) for other in every)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def main(folder: Path) -> None:
    join()
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    seen: dict[str, Any] = {"size": dist.get_world_size(), "threads": threads()}
    seen["asked"] = int(os.environ["OMP_NUM_THREADS"])
    results, counted, regions = {}, Counted(), {}
    for name, make in MODELS.items():
        before = counted.number
        results[name] = train(make(), rank)
        regions[name] = counted.number - before
    for name, result in results.items():
        eager = results["eager"]
        seen[name] = {
            "regions": regions[name],
            "losses": result["losses"],
            "same": same_everywhere(result["gradients"]) and same_everywhere(result["state"]),
            "gradients": distance(result["gradients"], eager["gradients"]),
            "state": distance(result["state"], eager["state"]),
        }
    dist.barrier()  # gloo's threads may abort the process whose peer has gone
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(seen), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
