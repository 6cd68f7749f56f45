"""16 bits: the same network with its weights and values in half the memory.

A means of ``faltung compress``. Nothing is learned and nothing has to be calibrated: weights, and
values between layers, are rounded to nearest, and sums and formulas stay float32. float16 has 11
bits of precision up to 65,504, bfloat16 8 bits and the range of float32. ``strength`` says which:
up to a half float16, if every weight has a place in it; above, or where one has not, bfloat16.
"""

import numpy as np

from faltung.compress.means import Left, Outcome, Task
from faltung.geometry.conv import NARROW, Kept
from faltung.program.half_state import HalfState
from faltung.runtime.halves import HALF_LIMIT, UNIT
from faltung.train.model import Model


def sixteen(model: Model, task: Task, strength: float) -> Outcome:
    """The model in 16 bits; layers whose parameters are vectors alone keep those in float32.

    Parameters
    ----------
    model : Model
        Of float32 or float64; one that has 16 bits is left as it is.
    task : Task
        Not looked at.
    strength : float
        From 0 to 1: float16 up to a half, bfloat16 above.

    Returns
    -------
    Outcome
    """
    if model.dtype in NARROW:
        return Outcome(model, said=f"has {model.dtype} already", changed=False)
    parameters = model.parameters
    largest = max((float(np.abs(a).max(initial=0)) for a in parameters.values()), default=0.0)
    dtype: Kept = "float16" if strength <= 0.5 and largest < HALF_LIMIT else "bfloat16"
    made = model.astype(dtype)
    state = made.state
    assert isinstance(state, HalfState)
    layers = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
    held = {name.rpartition(".")[0] for name in state.halves}
    left = tuple(Left(n, "has vectors alone, which stay float32") for n in layers if n not in held)
    return Outcome(
        made, left, f"weights and values in {dtype}: errors up to {UNIT[dtype]:.2g} each"
    )
