"""What a graph of foreign tensors computes: by the interpreter and as a program."""

from collections.abc import Callable, Sequence

import numpy as np
from graph.interpreter import compute

from faltung.graph.foreign import Foreign, Tensor
from faltung.program.inference import Inference
from faltung.program.state import State

Build = Callable[..., Tensor]


def built(
    arrays: Sequence[np.ndarray], build: Build, maps: bool = False
) -> tuple[Foreign, list[Tensor], Tensor]:
    f = Foreign("float32")
    inputs = []
    for array in arrays:
        memory = (0, *range(2, array.ndim), 1) if maps and array.ndim > 2 else None
        inputs.append(f.input(array.shape, "float32", memory))
    return f, inputs, build(f, *inputs)


def meant(arrays: Sequence[np.ndarray], build: Build, maps: bool = False) -> np.ndarray:
    """What it means, in float64. maps: inputs are stored with axis 1 last."""
    f, inputs, y = built(arrays, build, maps)
    graph = f.graph([y.value])
    known = {name: np.asarray(array, np.float64) for name, array in f.weights.items()}
    known |= {
        x.value.name: x.laid_out(a).astype(np.float64) for x, a in zip(inputs, arrays, strict=True)
    }
    compute(graph.nodes, known, 1)
    return y.told(np.moveaxis(known[y.value.name], 1, -1))


def run(arrays: Sequence[np.ndarray], build: Build, maps: bool = False) -> np.ndarray:
    """What a program makes of it, in float32."""
    f, inputs, y = built(arrays, build, maps)
    graph = f.graph([y.value])
    state = State(graph.parameters, "float32")
    state.update({p.name: f.weights[p.name] for p in graph.parameters})
    program = Inference(graph, state, 1)
    program.feed(*(x.laid_out(a) for x, a in zip(inputs, arrays, strict=True)))
    program.run()
    return np.array(y.told(program.outputs_in_memory[0]))
