"""Mistakes that type checkers refuse. It is never run.

A refused line ends with the rules that refuse it, of mypy and of pyright; all other lines are fine.
"""

import numpy as np

import faltung
from faltung import Model, nets, nn
from faltung.data import ArraySource

x = np.zeros((1, 4, 8, 8), np.float32)
w = np.zeros((6, 4, 3, 3), np.float32)
spec = faltung.parse("c3>64 224x224 k7 s2 p3")

# Names of arguments.
faltung.conv(x, w, paddin=1)  # call-arg, reportCallIssue
faltung.conv1d(x, w, strid=2)  # call-arg, reportCallIssue
faltung.conv2d(x, w, chanels_last=True)  # call-arg, reportCallIssue
faltung.conv3d(x, w, output_padding=1)  # call-arg, reportCallIssue
faltung.conv_input_grad(x, w, x.shape, dilatation=2)  # call-arg, reportCallIssue
faltung.conv_weight_grad(x, x, w.shape, group=2)  # call-arg, reportCallIssue
faltung.conv_transpose(x, w, outputpadding=1)  # call-arg, reportCallIssue
faltung.Conv(w, pading=1)  # call-arg, reportCallIssue
faltung.conv_local(x, w, method="direct")  # call-arg, reportCallIssue
faltung.conv_to_dense(w, (4, 8, 8), channels_last=True)  # call-arg, reportCallIssue
faltung.dense_to_local(w, (4, 8, 8), 6, (3, 3), paddings=1)  # call-arg, reportCallIssue
faltung.max_pool(x, 2, strides=2)  # call-overload, reportCallIssue
faltung.avg_pool(x, 2, dilation=2)  # call-arg, reportCallIssue
faltung.plan_forward(spec, precison="strict")  # call-arg, reportCallIssue
nn.Conv(16, 3, pading=1)  # call-arg, reportCallIssue
nn.build(nn.ReLU(), (3,), train=True)  # call-arg, reportCallIssue
faltung.conv(x)  # call-arg, reportCallIssue
faltung.conv2d(x)  # call-arg, reportCallIssue

# Words.
faltung.conv(x, w, padding="sam")  # arg-type, reportArgumentType
faltung.conv(x, w, padding=("same", "cause"))  # arg-type, reportArgumentType
faltung.conv(x, w, padding_mode="reflec")  # arg-type, reportArgumentType
faltung.conv(x, w, padding_mode=("zeros", "mirror"))  # arg-type, reportArgumentType
faltung.conv(x, w, precision="fas")  # arg-type, reportArgumentType
faltung.conv(x, w, method="winogard")  # arg-type, reportArgumentType
faltung.conv2d(x, w, padding="full")  # arg-type, reportArgumentType
faltung.conv_input_grad(x, w, x.shape, method="fft2")  # arg-type, reportArgumentType
faltung.conv_weight_grad(x, x, w.shape, precision="exact")  # arg-type, reportArgumentType
faltung.conv_transpose(x, w, padding="upper")  # arg-type, reportArgumentType
faltung.Conv(w, padding_mode="wrap")  # arg-type, reportArgumentType
faltung.conv_local_transpose(x, w, padding="full")  # arg-type, reportArgumentType
faltung.conv_to_local(w, (4, 8, 8), padding_mode="zero")  # arg-type, reportArgumentType
faltung.max_pool(x, 2, padding="sam")  # arg-type, reportArgumentType
faltung.conv_spec(x.shape, w.shape, padding="sam")  # arg-type, reportArgumentType
faltung.plan_input_grad(spec, precision="fas")  # arg-type, reportArgumentType
faltung.plan_weight_grad(spec, method="fast")  # arg-type, reportArgumentType
nn.Conv(16, 3, padding="sam")  # arg-type, reportArgumentType
nn.Conv(16, 3, padding_mode="reflec")  # arg-type, reportArgumentType
nn.GELU(approximate="tan")  # arg-type, reportArgumentType
nn.build(nn.ReLU(), (3,), dtype="float8")  # arg-type, reportArgumentType

# Types.
faltung.conv(x, w, stride="2")  # arg-type, reportArgumentType
faltung.conv(x, w, stride=1.5)  # arg-type, reportArgumentType
faltung.conv(x, w, groups=None)  # arg-type, reportArgumentType
faltung.conv(x, w, out=[0.0])  # arg-type, reportArgumentType
faltung.conv_input_grad(x, w, 8)  # arg-type, reportArgumentType
faltung.max_pool(x, 2, indices=True).sum()  # attr-defined, reportAttributeAccessIssue
first, second = faltung.max_pool(x, None)  # call-overload, reportArgumentType
nn.Residual(nn.ReLU)  # arg-type, reportArgumentType
nn.Sequential(nn.ReLU)  # arg-type, reportArgumentType
nets.get(18)  # arg-type, reportArgumentType
faltung.set_threads("4")  # arg-type, reportArgumentType
faltung.convolve(x, w)  # attr-defined, reportAttributeAccessIssue
print(faltung.conv(x, w).shapes)  # attr-defined, reportAttributeAccessIssue

# Training.
model = Model(nn.Linear(2), (3,))
source = ArraySource(np.zeros((4, 3)), [0, 1, 1, 0])
model.fit(source, epoch=3)  # call-arg, reportCallIssue
model.fit(source, learning_rate=0.1)  # call-arg, reportCallIssue
model.fit(source, optimizer="adam")  # arg-type, reportArgumentType
model.fit(source, schedule="cosin")  # arg-type, reportArgumentType
model.fit(source, loss=3)  # arg-type, reportArgumentType
model.fit(source, precision="exact")  # arg-type, reportArgumentType
model.fit(source, validation="half")  # arg-type, reportArgumentType
model.fit(source, epochs="3")  # arg-type, reportArgumentType
Model(nn.Linear(2), (3,), dtype="float8")  # arg-type, reportArgumentType
Model(nn.Linear(2), (3,), precision="fas")  # arg-type, reportArgumentType
Model(nn.Linear(2), (3,), clases=["cat", "dog"])  # call-arg, reportCallIssue
