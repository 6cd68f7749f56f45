"""A hundred steps beside PyTorch: from the same weights, on the same batches, the same losses.

Both in float32: in float64 the largest of a window may be another one, where two are alike to the
last bit, and training makes much of that.
"""

from collections.abc import Iterator
from importlib.resources import as_file, files

import numpy as np
import pytest
from graph import network_parts
from optional import optional

from faltung import nn
from faltung.data.digits import INK
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.program.optimizer import SGD
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

torch = optional("torch")

STEPS = 100
BATCH = 16
RATE, MOMENTUM, DECAY = 0.02, 0.9, 1e-3
SHAPE = (1, 8, 8)

LENET = nn.Sequential(
    nn.Conv(6, 5, padding=2),
    nn.Tanh(),
    nn.AvgPool(2),
    nn.Conv(16, 3),
    nn.Tanh(),
    nn.Flatten(),
    nn.Linear(40),
    nn.Tanh(),
    nn.Linear(10),
)
INCEPTION = nn.Sequential(
    network_parts.conv_norm(8),
    network_parts.inception(),
    nn.Auxiliary(nn.Sequential(nn.AvgPool(4), nn.Flatten(), nn.Linear(10)), weight=0.3),
    nn.MaxPool(2),
    network_parts.inception(),
    nn.GlobalAvgPool(),
    nn.Linear(10),
)
RESNET = nn.Sequential(
    network_parts.conv_norm(8),
    network_parts.block(8),
    network_parts.block(12, 2),
    nn.GlobalAvgPool(),
    nn.Linear(10),
)
NETS = {"lenet": LENET, "inception": INCEPTION, "resnet": RESNET}


def batches() -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of every step."""
    with as_file(files("faltung.data").joinpath("digits.npz")) as path, np.load(path) as found:
        x, y = found["x"], found["y"].astype(np.int64)
    chosen = np.random.default_rng(0).permutation(len(x))[: STEPS * BATCH].reshape(STEPS, BATCH)
    return (x[chosen] / np.float32(INK)).reshape(STEPS, BATCH, *SHAPE), y[chosen]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For PyTorch, whose threads would wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NETS)
def test_losses_over_a_hundred_steps(name: str) -> None:
    """From one of a few starts: where rounding decides which of a window is the largest, training
    makes ten times as much of it every ten steps, and that depends on the order of PyTorch's sums.
    """
    far = []
    for seed in range(1, 5):
        far.append(max(_differences(NETS[name], seed)))
        if far[-1] < 1e-3:
            break
    assert min(far) < 1e-3, far


def _differences(net: nn.Layer, seed: int) -> Iterator[float]:
    """Those of the losses, and of what is not trained at the end, as parts of PyTorch's."""
    from nn import twin

    graph = nn.build(net, SHAPE, training=True)
    state = State(graph.parameters, "float32")
    first = parameters(graph, seed)
    state.update(first)
    step = TrainingStep(
        differentiate(graph), state, Slots(state, SGD(momentum=MOMENTUM, decay=DECAY)), BATCH
    )
    tensors = {
        p.name: torch.tensor(first[p.name], requires_grad=p.trained) for p in graph.parameters
    }
    groups = [
        {
            "params": [tensors[p.name] for p in graph.parameters if p.trained and p.decay is kind],
            "weight_decay": DECAY * kind,
        }
        for kind in (True, False)
    ]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    losses = []
    for number, (x, y) in enumerate(zip(*batches(), strict=True)):
        ours, _ = step(x, y, lr=RATE, step=number)
        walk = twin.Walk(iter(tensors.values()), training=True)
        labels = torch.tensor(y)
        output = walk(net, torch.tensor(x))
        theirs = torch.nn.functional.cross_entropy(output, labels)
        total = theirs
        for head, auxiliary in zip(walk.heads, graph.auxiliaries, strict=True):
            total = total + auxiliary.weight * torch.nn.functional.cross_entropy(head, labels)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append((ours, theirs.item()))
    ours, theirs = np.array(losses).T
    assert theirs[-10:].mean() < 0.7 * theirs[:10].mean()
    yield from np.abs(ours / theirs - 1)
    for p in graph.parameters:
        if not p.trained:
            want = tensors[p.name].numpy()
            yield np.abs(state.get(p.name) - want).max() / np.abs(want).max()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_of_classes_over_twenty_steps(smoothing: float) -> None:
    """The weighted mean of each batch, auxiliary classifiers too, as ``CrossEntropyLoss``."""
    from nn import twin

    graph = nn.build(INCEPTION, SHAPE, training=True, dtype="float64")
    state, weights = State(graph.parameters, "float64"), np.linspace(0, 2, 10)
    first = parameters(graph, 1)
    state.update(first)
    step = TrainingStep(
        differentiate(graph, weighted=True),
        state,
        Slots(state, SGD(momentum=MOMENTUM)),
        BATCH,
        smoothing=smoothing,
        class_weight=weights,
    )
    tensors = {
        p.name: torch.tensor(first[p.name], requires_grad=p.trained) for p in graph.parameters
    }
    trained = [tensors[p.name] for p in graph.parameters if p.trained]
    optimizer = torch.optim.SGD(trained, lr=RATE, momentum=MOMENTUM)
    loss = torch.nn.CrossEntropyLoss(torch.tensor(weights), label_smoothing=smoothing)
    for number, (x, y) in enumerate(zip(*batches(), strict=True)):
        if number == 20:
            break
        ours, _ = step(x.astype(np.float64), y, lr=RATE, step=number)
        walk = twin.Walk(iter(tensors.values()), training=True)
        labels = torch.tensor(y)
        theirs = loss(walk(INCEPTION, torch.tensor(x.astype(np.float64))), labels)
        total = theirs
        for head, auxiliary in zip(walk.heads, graph.auxiliaries, strict=True):
            total = total + auxiliary.weight * loss(head, labels)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert ours == pytest.approx(theirs.item(), rel=1e-9)
