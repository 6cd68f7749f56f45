"""LSTM, GRU and RNN of ONNX files in all their settings, against ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx import load

runtime: Any = optional("onnxruntime")

STEPS, BATCH, CHANNELS, HIDDEN = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NUMBERS = {"LSTM": 3, "GRU": 2, "RNN": 1}


def small(*shape: int, seed: int) -> Any:
    return 0.5 * numbers(*shape, seed=seed)


def layer(
    op: str,
    direction: str = "forward",
    *,
    opset: int = 14,
    given: str = "x w r b",
    free: bool = False,
    free_steps: bool = False,
    **attributes: Any,
) -> tuple[bytes, dict[str, Any]]:
    """A file with one layer, and its inputs. given: what the node reads, "-" for nothing; free:
    weights are inputs too; free_steps: the length of the sequence is open.
    """
    runtime.InferenceSession  # noqa: B018 - skips where it is not installed
    directions = 1 + (direction == "bidirectional")
    rows = GATES[op] * HIDDEN
    sequence, state = (STEPS, BATCH, CHANNELS), (directions, BATCH, HIDDEN)
    if attributes.get("layout"):
        sequence, state = (BATCH, STEPS, CHANNELS), (BATCH, directions, HIDDEN)
    arrays = {
        "x": small(*sequence, seed=1),
        "w": small(directions, rows, CHANNELS, seed=2),
        "r": small(directions, rows, HIDDEN, seed=3),
        "b": small(directions, 2 * rows, seed=4),
        "lengths": np.array([5, 2, 3], np.int32),
        "h": small(*state, seed=5),
        "c": small(*state, seed=6),
        "p": small(directions, 3 * HIDDEN, seed=7),
    }
    names = [name for name in given.split() if name != "-"]
    weights = [] if free else [name for name in names if name in "wrbp"]
    inputs = {name: arrays[name] for name in names if name not in weights}
    outputs = "y yh yc" if op == "LSTM" else "y yh"
    shapes: dict[str, Any] = {name: array.shape for name, array in inputs.items()}
    if free_steps:
        shapes["x"] = ("T", *sequence[1:])
    data = made(
        [node(op, given, outputs, hidden_size=HIDDEN, direction=direction, **attributes)],
        shapes,
        outputs.split(),
        {name: arrays[name] for name in weights},
        opset=opset,
        types={"lengths": "int32"} if "lengths" in names else {},
    )
    return data, inputs


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", sorted(GATES))
def test_directions_and_inputs(op: str, direction: str) -> None:
    last = " c" if op == "LSTM" else ""
    agree(*layer(op, direction, given="x w r"))
    agree(*layer(op, direction, given=f"x w r b lengths h{last}"))
    agree(*layer(op, direction, given=f"x w r b - h{last}", free=True))
    agree(*layer(op, direction, opset=7, clip=0.3))
    agree(*layer(op, direction, opset=22))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_settings_of_some(direction: str) -> None:
    agree(*layer("LSTM", direction, given="x w r b lengths h c p"))
    agree(*layer("LSTM", direction, given="x w r b - - - p", input_forget=1))
    agree(*layer("GRU", direction, linear_before_reset=1))
    agree(*layer("GRU", direction, given="x w r b lengths h", linear_before_reset=1, clip=0.2))


@pytest.mark.parametrize(
    ("names", "alpha", "beta"),
    [
        (["Relu", "Softsign", "Tanh"], [], []),
        (["HardSigmoid", "Tanh", "LeakyRelu"], [0.3, 0.05], [0.4]),
        (["Sigmoid", "ScaledTanh", "Affine"], [0.7, 0.6], [1.2, 0.1]),
        (["Sigmoid", "Elu", "Softplus"], [0.8], []),
        (["HardSigmoid", "ThresholdedRelu", "Tanh"], [0.2, 0.1], [0.5]),
    ],
)
@pytest.mark.parametrize("op", sorted(GATES))
def test_activations(op: str, names: list[str], alpha: list[float], beta: list[float]) -> None:
    """Their numbers follow each other, of those alone that read some."""
    count = NUMBERS[op]
    known = {"HardSigmoid": 2, "ScaledTanh": 2, "Affine": 2}
    few = dict.fromkeys(["LeakyRelu", "Elu", "ThresholdedRelu"], 1)
    needs = [(known | few).get(name, 0) for name in names[:count]]
    more: dict[str, Any] = {"activations": names[:count]}
    more |= {"activation_alpha": alpha[: sum(n > 0 for n in needs)]} if any(needs) else {}
    more |= {"activation_beta": beta[: sum(n > 1 for n in needs)]} if max(needs) > 1 else {}
    agree(*layer(op, **more))


def test_batch_first() -> None:
    """ONNX Runtime has no layout 1: the axes are turned around by hand."""
    for op in sorted(GATES):
        last = " c" if op == "LSTM" else ""
        data, inputs = layer(op, "bidirectional", given=f"x w r b - h{last}", layout=1)
        other, turned = layer(op, "bidirectional", given=f"x w r b - h{last}")
        turned = {name: np.swapaxes(array, 0, 1) for name, array in inputs.items()}
        got, want = load(data).run(inputs), load(other).run(turned)
        np.testing.assert_allclose(got[0], want[0].transpose(2, 0, 1, 3), atol=1e-6)
        for a, b in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(a, np.swapaxes(b, 0, 1), atol=1e-6)


def test_a_state_goes_round() -> None:
    """Steps one by one are the whole sequence."""
    data, inputs = layer("LSTM", given="x w r b - h c", free_steps=True)
    model = load(data)
    whole = model.run(inputs)
    state, found = {name: inputs[name] for name in "hc"}, []
    for step in range(STEPS):
        y, *made = model.run({"x": inputs["x"][step : step + 1], **state})
        state = dict(zip("hc", made, strict=True))
        found.append(y)
    np.testing.assert_allclose(np.concatenate(found), whole[0], atol=1e-5)
    np.testing.assert_allclose(state["c"], whole[2], atol=1e-5)


def test_what_does_not_fit() -> None:
    data, _ = layer("LSTM", activations=["Sigmoid", "Tanh"])
    with pytest.raises(FaltungError, match=r"activations=.*: must be 3 names"):
        load(data).summary()
    data, _ = layer("RNN", activations=["Sine"])
    with pytest.raises(UnsupportedError, match=r"the activation 'Sine'"):
        load(data).summary()
