"""Code as people write it: type checkers accept all of it. It is never run."""

from collections.abc import Sequence
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import faltung
from faltung import Model, data, nets, nn
from faltung.data import ArraySource, Source

Array = npt.NDArray[Any]
x = np.zeros((1, 4, 8, 8), np.float32)
w = np.zeros((6, 4, 3, 3), np.float32)
bias = np.zeros(6, np.float32)

# Convolutions: every form of every argument.
assert_type(faltung.conv(x, w), Array)
assert_type(faltung.conv1d([[1.0, 2.0]], [[[1.0]]], stride=2), Array)
faltung.conv(x, w, bias, stride=(2, 1), padding=1, dilation=[1, 2], groups=1)
faltung.conv(x=x, weight=w, bias=None, padding="same", padding_mode="reflect", flip=True)
faltung.conv(x, w, padding=("causal", 1), padding_mode=("zeros", "circular"))
faltung.conv(x, w, padding=((0, 1), (2, 0)), channels_last=True, out=np.zeros((1, 6, 8, 8)))
faltung.conv2d(x, weight=w, precision="strict", method="winograd", tune=None)
faltung.conv3d(x, w, bias, padding="valid")
for padding in (0, 1, 2):
    faltung.conv(x, w, padding=padding)
pairs = [(0, 1), (2, 2)]
faltung.conv_input_grad(x, w, x.shape, padding=pairs, method="fft")
faltung.conv_weight_grad(x, x, [6, 4, 3, 3], precision="fast", tune=False)
faltung.conv_transpose(x, w, stride=2, output_padding=1, padding="same_upper")

layer = faltung.Conv(w, bias, padding="same", method="direct")
assert_type(layer(x, out=None), Array)
assert_type(layer.plan(x), faltung.Plan)
assert_type(layer.bias, Array | None)

# Local layers, and the forms of one map.
local = faltung.conv_to_local(w, (4, 8, 8), padding=1, padding_mode="circular")
faltung.conv_local(x, faltung.pack_local(local), padding=1)
faltung.conv_local_input_grad(x, local, x.shape, stride=1)
faltung.conv_local_weight_grad(x, x, local.shape, groups=1)
faltung.conv_local_transpose(x, local, output_padding=(0, 0))
matrix = faltung.local_to_dense(local, (4, 8, 8), padding=1)
faltung.dense_to_conv(matrix, (4, 8, 8), 6, (3, 3), padding=1, flip=False)

# Pooling: with indices there are two results.
assert_type(faltung.max_pool(x, 2), Array)
maxima, where = faltung.max_pool(x, (2, 2), stride=2, ceil=True, indices=True)
faltung.max_pool_grad(maxima, where, x.shape, 2)
faltung.avg_pool(x, 3, padding="same", count_padding=False)
faltung.avg_pool_grad(x, x.shape, 3)
assert_type(faltung.global_avg_pool(x, channels_last=True), Array)

# Questions and plans.
spec = faltung.conv_spec((1, 4, 8, 8), (6, 4, 3, 3), padding=1, padding_mode="symmetric")
assert_type(spec.output_shape, tuple[int, ...])
print(faltung.plan_forward(faltung.parse("c3>64 224x224 k7 s2 p3"), precision="strict"))
faltung.plan_input_grad(spec, method="winograd", channels_last=True)
faltung.plan_weight_grad(spec, method="auto")
faltung.set_threads(faltung.get_threads())

# Networks.
net = nn.Sequential(
    nn.Conv(16, 3, padding="same", padding_mode="replicate", name="stem"),
    nn.Residual(nn.Conv(16, (3, 3), padding=((1, 1), (1, 1)))),
    nn.Parallel(nn.Identity(), nn.GELU(approximate="tanh")),
    nn.MaxPool(2, ceil=True),
    nn.Flatten(),
    nn.Linear(10, bias=False),
)
graph = nn.build(net, (1, 28, 28), dtype="float64", training=True)
known: nn.Layer = nets.get("resnet18", classes=10, input_shape=(3, 32, 32))

# Training.
labels = [0, 1, 1, 0]
model = Model(net, (1, 28, 28), classes=["cat", "dog"], dtype="float32", precision="strict")
samples = ArraySource(np.zeros((4, 1, 28, 28)), labels)
train, held = data.split(samples, 0.5)
model.fit(train, validation=held)
model.fit(samples, epochs=3, lr=0.01, optimizer="sgd", schedule="cosine", show=False)
model.fit(np.zeros((4, 1, 28, 28)), labels, validation=(np.zeros((2, 1, 28, 28)), [0, 1]))
model.fit(train, validation=0.2, loss="cross_entropy", batch=8, seed=1)
assert_type(model.evaluate(held), dict[str, float])
assert_type(model.predict(x, softmax=True), Array)


class Noise:
    """A source of one's own, with plain attributes."""

    kind = "picture"
    shape: tuple[int, ...] = (1, 28, 28)
    classes: tuple[str, ...] | None = ("cat", "dog")
    names: Sequence[str] = ("a", "b")
    skipped: tuple[str, ...] = ()
    lazy = False

    def __init__(self) -> None:
        self.targets: Array = np.array([0, 1])

    def __len__(self) -> int:
        return 2

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Array:
        return np.zeros((len(indices), 1, 28, 28), np.float32)


source: Source = Noise()
model.fit(Noise(), validation=Noise())
model.predict(Noise())
