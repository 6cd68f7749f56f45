"""Wrong values at every public function: one line of ours, never an error of NumPy or Python.

A class or function of ``__all__`` that is missing here fails the test, so that none is forgotten.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import faltung
from faltung import Model, data, nets, nn

F = np.float32
# Each is wrong for almost every argument: of another type, too large, too small, not finite.
WRONG: dict[str, Any] = {
    "object": object(),
    "mapping": {"a": 1},
    "bytes": b"x",
    "text": "x\x1b[2J",
    "nothing": [],
    "list of None": [None],
    "ragged": [[1], [2, 3]],
    "number as array": np.array(3),
    "square": np.ones((2, 2)),
    "words": np.array(["a", "b"]),
    "objects": np.array([None, 1]),
    "complex": 3 + 4j,
    "complex array": np.ones((1, 2, 3, 4), complex),
    "date": np.datetime64("2020"),
    "huge": 10**30,
    "negative": -(10**30),
    "nan": float("nan"),
    "infinite": float("inf"),
    "function": len,
    "class": int,
    "empty array": np.ones((0, 3, 8, 8), F),
    "masked": np.ma.masked_array(np.ones((2, 3, 8, 8), F)),
}

X, W, B = np.ones((1, 2, 6, 6), F), np.ones((2, 2, 3, 3), F), np.ones(2, F)
G, L = np.ones((1, 2, 4, 4), F), np.ones((4, 4, 2, 2, 3, 3), F)
SPEC = faltung.parse("n1 c2>2 6x6 k3")
P, AT = faltung.max_pool(X, 2, indices=True)
SHAPE, Y = X.shape, np.array([0, 1, 0, 1])
D = faltung.conv_to_dense(W, SHAPE[1:])
SAMPLES = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(F)


def model() -> Model:
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8))


class Call(NamedTuple):
    """A function, and arguments that it takes."""

    function: Callable[..., object]
    given: tuple[Any, ...]


FUNCTIONS: dict[str, Call] = {
    "conv": Call(faltung.conv, (X, W, B)),
    "conv1d": Call(faltung.conv1d, (X[:, :, 0], W[..., 0])),
    "conv2d": Call(faltung.conv2d, (X, W)),
    "conv3d": Call(faltung.conv3d, (X[:, :, np.newaxis], W[:, :, np.newaxis])),
    "conv_input_grad": Call(faltung.conv_input_grad, (G, W, SHAPE)),
    "conv_weight_grad": Call(faltung.conv_weight_grad, (X, G, W.shape)),
    "conv_transpose": Call(faltung.conv_transpose, (G, W)),
    "Conv": Call(faltung.Conv, (W, B)),
    "conv_local": Call(faltung.conv_local, (X, L)),
    "conv_local_input_grad": Call(faltung.conv_local_input_grad, (G, L, SHAPE)),
    "conv_local_weight_grad": Call(faltung.conv_local_weight_grad, (X, G, L.shape)),
    "conv_local_transpose": Call(faltung.conv_local_transpose, (G, L)),
    "pack_local": Call(faltung.pack_local, (L,)),
    "conv_to_dense": Call(faltung.conv_to_dense, (W, SHAPE[1:])),
    "conv_to_local": Call(faltung.conv_to_local, (W, SHAPE[1:])),
    "local_to_conv": Call(faltung.local_to_conv, (L, SHAPE[1:])),
    "local_to_dense": Call(faltung.local_to_dense, (L, SHAPE[1:])),
    "dense_to_conv": Call(faltung.dense_to_conv, (D, SHAPE[1:], 2, (3, 3))),
    "dense_to_local": Call(faltung.dense_to_local, (D, SHAPE[1:], 2, (3, 3))),
    "max_pool": Call(faltung.max_pool, (X, 2)),
    "max_pool_grad": Call(faltung.max_pool_grad, (P, AT, SHAPE, 2)),
    "avg_pool": Call(faltung.avg_pool, (X, 2)),
    "avg_pool_grad": Call(faltung.avg_pool_grad, (P, SHAPE, 2)),
    **{
        f"{kind}_pool{rank}d": Call(getattr(faltung, f"{kind}_pool{rank}d"), (x, 2))
        for kind in ("max", "avg")
        for rank, x in ((1, X[0]), (2, X), (3, X[:, :, np.newaxis].repeat(2, 2)))
    },
    "global_max_pool": Call(faltung.global_max_pool, (X,)),
    "global_avg_pool": Call(faltung.global_avg_pool, (X,)),
    "conv_spec": Call(faltung.conv_spec, (SHAPE, W.shape)),
    "parse": Call(faltung.parse, ("n1 c2>2 6x6 k3",)),
    "plan_forward": Call(faltung.plan_forward, (SPEC,)),
    "plan_input_grad": Call(faltung.plan_input_grad, (SPEC,)),
    "plan_weight_grad": Call(faltung.plan_weight_grad, (SPEC,)),
    "set_threads": Call(faltung.set_threads, (faltung.get_threads(),)),
    "Model": Call(Model, (nn.Flatten(), (1, 8, 8))),
    "Model.predict": Call(lambda x, softmax=None: model().predict(x, softmax=softmax), (SAMPLES,)),
    "Model.evaluate": Call(lambda x, y: model().evaluate(x, y), (SAMPLES, Y)),
    "Model.set_parameters": Call(lambda values: model().set_parameters(values), ({},)),
    "Model.astype": Call(lambda dtype: model().astype(dtype), ("float16",)),
    "Model.save": Call(lambda path: model().save(path), ("x.safetensors",)),
    "Model.load": Call(Model.load, ("x.safetensors",)),
    "nets.get": Call(nets.get, ("lenet5",)),
    "nets.graph": Call(nets.graph, ("lenet5",)),
    "ArraySource": Call(data.ArraySource, (SAMPLES, Y)),
    "ArraySource.read": Call(data.ArraySource(SAMPLES, Y).read, ([0],)),
    "split": Call(data.split, (data.ArraySource(SAMPLES, Y), 0.5)),
    "open_source": Call(data.open_source, ("digits",)),
    "Augment": Call(data.Augment, ()),
    "Standard": Call(data.Standard, ((0.0,), (1.0,))),
    "standardise": Call(data.standardise, (data.ArraySource(SAMPLES, Y),)),
}
# No functions, or made by others.
PACKAGES = {"dask", "data", "ndimage", "nets", "nn", "onnx", "signal", "sklearn", "xarray"}
OTHERS = {"ConvSpec", "Epoch", "FaltungError", "Plan", "get_threads", *PACKAGES}

LAYERS: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvgPool": (2,),
    "AdaptiveMaxPool": (2,),
    "Attention": (2,),
    "Auxiliary": (nn.Sequential(nn.Flatten(), nn.Linear(2)),),
    "AvgPool": (2,),
    "ChannelShuffle": (2,),
    "Channels": (1,),
    "Conv": (4, 3),
    "ConvTranspose": (4, 3),
    "Embedding": (9, 4),
    "Formula": ("tanh(x)",),
    "GRU": (3,),
    "GroupNorm": (2,),
    "LSTM": (3,),
    "Linear": (4,),
    "Local": (4, 3),
    "MaxPool": (2,),
    "Pad": (1,),
    "Parallel": (nn.ReLU(), nn.ReLU()),
    "Patches": (nn.ReLU(),),
    "PixelShuffle": (2,),
    "PixelUnshuffle": (2,),
    "Position": (2,),
    "Quantise": (0.5,),
    "RNN": (3,),
    "Read": (nn.ReLU(), "input"),
    "Residual": (nn.ReLU(),),
    "Sequential": (nn.ReLU(),),
    "SqueezeExcite": (2,),
    "StochasticDepth": (0.5,),
    "Wired": (nn.ReLU(),),
}
# Options that a layer cannot do without.
OPTIONS: dict[str, dict[str, Any]] = {"Upsample": {"scale": 2}}


def arguments(call: Call) -> Iterator[str]:
    for name, each in inspect.signature(call.function).parameters.items():
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and name != "show":
            yield name


def judge(call: Callable[[], object]) -> str | None:
    """What is wrong with how a call is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except faltung.FaltungError as error:
            text = str(error)
            return None if text and text.isprintable() else f"not one line: {text!r}"
        except (OSError, MemoryError):
            return None
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


ROWS = [(name, argument) for name, call in FUNCTIONS.items() for argument in arguments(call)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = faltung.get_threads()
    model().save("x.safetensors")
    yield
    faltung.set_threads(threads)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    call = FUNCTIONS[name]
    names = list(arguments(call))
    usual = dict(zip(names, call.given, strict=False))
    call.function(**usual) if usual or not call.given else call.function(*call.given)
    bad = []
    for argument in names:
        for what, value in WRONG.items():
            wrong = judge(lambda a=argument, v=value: call.function(**{**usual, a: v}))  # type: ignore[misc]
            if wrong is not None:
                bad.append(f"{argument}={what}: {wrong}")
    assert bad == []


@pytest.mark.parametrize("name", nn.__all__)
def test_layers(name: str) -> None:
    kind = getattr(nn, name)
    if not (isinstance(kind, type) and issubclass(kind, nn.Layer)) or kind in ABSTRACT:
        pytest.skip("no layer")
    given = LAYERS.get(name, ())
    text = name == "Embedding"

    def build(*words: Any, **more: Any) -> object:
        layer = kind(*words, **more)
        if name == "Linear":
            layer = nn.Sequential(nn.Flatten(), layer)
        shape = (5,) if text else (4, 6) if name in RECURRENT else (4, 6, 6)
        return nn.build(layer, shape, tokens=text)

    if name not in (
        "Auxiliary",
        "Dropout",
        "Identity",
        "StochasticDepth",
    ):  # alone they are no network
        build(*given, **OPTIONS.get(name, {}))
    bad = []
    for argument in inspect.signature(kind).parameters:
        for what, value in WRONG.items():
            if argument in ("layers", "branches", "sources"):
                wrong = judge(lambda v=value: build(v))  # type: ignore[misc]
            else:
                names = list(inspect.signature(kind).parameters)
                usual = {**dict(zip(names, given, strict=False)), **OPTIONS.get(name, {})}
                if name in GROUPS:
                    continue
                wrong = judge(lambda u=usual, a=argument, v=value: build(**{**u, a: v}))  # type: ignore[misc]
            if wrong is not None:
                bad.append(f"{argument}={what}: {wrong}")
    assert bad == []


ABSTRACT = (nn.Layer, nn.Activation)
RECURRENT = ("LSTM", "GRU", "RNN")
GROUPS = ("Sequential", "Parallel", "Read", "Wired")


@pytest.mark.parametrize("name", nets.table.NETS)
def test_networks(name: str) -> None:
    bad = []
    for option in nets.table.row(name).arguments():
        for what, value in WRONG.items():
            wrong = judge(
                lambda o=option, v=value: nets.get(name, classes=2, **{o: v})  # type: ignore[misc]
            )
            if wrong is not None:
                bad.append(f"{option}={what}: {wrong}")
    assert bad == []


def test_models_from_elsewhere() -> None:
    pytest.importorskip("onnx")
    from faltung import onnx
    from faltung.formats.onnx_export import export_onnx

    net = model()
    file = export_onnx(net.graph, net.parameters)
    loaded, session = onnx.load(file), onnx.InferenceSession(file)
    rows: list[tuple[Callable[..., object], dict[str, Any]]] = [
        (onnx.load, {"model": file, "precision": "fast"}),
        (onnx.OnnxModel, {"model": file, "precision": "fast"}),
        (lambda x: loaded(x), {"x": SAMPLES}),
        (loaded.run, {"inputs": {"input": SAMPLES}}),
        (lambda x: loaded.run({"input": x}), {"x": SAMPLES}),
        (lambda shape: loaded.graph(shape), {"shape": SAMPLES.shape}),
        (lambda shape: loaded.summary(shape), {"shape": SAMPLES.shape}),
        (onnx.InferenceSession, {"path_or_bytes": file, "sess_options": onnx.SessionOptions()}),
        (
            lambda n: onnx.InferenceSession(file, onnx.SessionOptions(intra_op_num_threads=n)),
            {"n": 1},
        ),
        (session.run, {"output_names": None, "input_feed": {"input": SAMPLES}}),
    ]
    bad = []
    for function, usual in rows:
        function(**usual)
        for argument in usual:
            for what, value in WRONG.items():
                wrong = judge(lambda f=function, u=usual, a=argument, v=value: f(**{**u, a: v}))  # type: ignore[misc]
                if wrong is not None:
                    bad.append(f"{function} {argument}={what}: {wrong}")
    assert bad == []


def test_no_function_is_forgotten() -> None:
    assert set(faltung.__all__) - OTHERS <= FUNCTIONS.keys()
