"""Weights as their network sees them, for a file that pays for what it can be told.

A layer with ``bits`` keeps the numbers that it is trained with, and computes with the nearest ones
of its grid (``nn/quantise.py``). Once training is over only these count. In their place the network
computes the same, bit for bit, and a coded file finds whole numbers of 8 bits.
"""

import numpy as np

from faltung.compress.means import remade
from faltung.graph.scales import MOST_INT32, levels
from faltung.train.model import Model


def settled(model: Model) -> Model:
    """The same model with weights and biases on their grids; itself if it has none."""
    numbers, changed = model.parameters, False
    for p in model.training_graph.parameters:
        how = p.follows
        if how is None:
            continue
        changed, weight, scale = True, numbers[how.weight], numbers[p.name]
        shape = [1] * weight.ndim
        shape[how.axis] = -1
        top = levels(how.bits)
        spread = scale.reshape(shape)
        numbers[how.weight] = np.clip(np.rint(weight / spread), -top, top) * spread + 0.0
        if how.bias:
            unit = scale * scale.dtype.type(how.input_scale)
            whole = np.clip(np.rint(numbers[how.bias] / unit), -MOST_INT32, MOST_INT32)
            numbers[how.bias] = whole * unit + 0.0
    return remade(model, model.net, numbers) if changed else model
