"""What people write who come from elsewhere, and what they are told: one table of all of it.

A row is a call or a command line that is natural in PyTorch, Keras, TensorFlow, SciPy or OpenCV, or
a slip, and the message that answers it. None of them may do something else in silence.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import faltung
from faltung import Model, data, nets, nn
from faltung.cli.main import COMMANDS, main
from faltung.geometry import words
from faltung.graph.losses import EXAMPLE, LOSSES
from faltung.train.scores import SCORES

F = np.float32
X, W = np.ones((1, 3, 8, 8), F), np.ones((4, 3, 3, 3), F)
SAMPLES = np.random.default_rng(0).standard_normal((20, 1, 8, 8)).astype(F)
LABELS = np.arange(20) % 2
conv2d: Any = faltung.conv2d  # type checkers refuse most of this, too
layers: Any = nn
Get: Any = nets.get
SAME = "must be numbers or one of valid, same, same_upper, same_lower, causal"
MODES = "must be one of zeros, reflect, symmetric, replicate, circular, constant"
FILE = (
    "must be an array, not the name of a file; faltung.data.open_source reads files and folders, "
    "numpy.load an array"
)
KERNEL = (
    "; a kernel of one channel is weight[np.newaxis, np.newaxis], and faltung.ndimage.correlate "
    "takes arrays without channels"
)


def model() -> Any:
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8))


def fit(**given: Any) -> Any:
    return model().fit(SAMPLES, LABELS, **{"epochs": 1, "show": False, **given})


Row = tuple[Callable[[], object] | str, str]
# Of arguments: what another library calls them, the function, and what is said.
ARGUMENTS: list[Row] = [
    (
        lambda: conv2d(X, W, strides=2),
        "strides=2: conv2d has no such argument; did you mean stride?",
    ),
    (lambda: conv2d(X, W, pad=1), "pad=1: conv2d has no such argument; did you mean padding?"),
    (
        lambda: conv2d(X, W, mode="same"),
        "mode='same': conv2d has no such argument; did you mean padding_mode?",
    ),
    (
        lambda: conv2d(X, W, cval=1),
        "cval=1: conv2d has no such argument; did you mean padding_value?",
    ),
    (
        lambda: conv2d(X, W, data_format="NHWC"),
        "data_format='NHWC': conv2d has no such argument; did you mean channels_last?",
    ),
    (
        lambda: conv2d(X, W, dilation_rate=2),
        "dilation_rate=2: conv2d has no such argument; did you mean dilation?",
    ),
    (lambda: conv2d(X, kernel=3), "kernel=3: conv2d has no such argument; did you mean weight?"),
    (lambda: conv2d(X), "weight: must be given, as in conv2d(x, weight)"),
    (
        lambda: conv2d(X, W, None, 2),
        "conv2d: takes x and weight and bias by position, options by name; write conv2d(x, weight, "
        "None, stride=2)",
    ),
    (
        lambda: conv2d(X, W, nonsense=1),
        "nonsense=1: conv2d has no such argument; it takes x, weight, bias, stride, padding, "
        "dilation, groups, padding_mode, padding_value, flip, channels_last, precision, method, "
        "tune, out",
    ),
    (
        lambda: layers.Conv(16, kernel_size=3),
        "kernel_size=3: Conv has no such argument; did you mean kernel?",
    ),
    (
        lambda: layers.Conv(16, 3, use_bias=False),
        "use_bias=False: Conv has no such argument; did you mean bias?",
    ),
    (
        lambda: layers.Conv(16, 3, in_channels=3),
        "in_channels=3: Conv has no such argument; leave it out: a layer finds out how many "
        "channels it gets",
    ),
    (
        lambda: layers.Conv(16, 3, activation="relu"),
        "activation='relu': Conv has no such argument; leave it out: an activation is a layer of "
        "its own, after this one",
    ),
    (
        lambda: layers.Linear(units=10),
        "units=10: Linear has no such argument; did you mean features?",
    ),
    (lambda: layers.Dropout(p=0.5), "p=0.5: Dropout has no such argument; did you mean rate?"),
    (
        lambda: layers.ReLU(inplace=True),
        "inplace=True: ReLU has no such argument; leave it out: values of a network are written "
        "once",
    ),
    (
        lambda: Model(nn.Flatten(), input_size=(1, 8, 8)),  # type: ignore[call-arg]
        "input_size=(1, 8, 8): Model has no such argument; did you mean input_shape?",
    ),
    (lambda: Model(nn.Flatten()), "input_shape: must be given, as in Model(net, input_shape)"),  # type: ignore[call-arg]
    (
        lambda: Get("resnet18", num_classes=10),
        "num_classes=10: resnet18 takes width, halvings; did you mean classes?",
    ),
    (
        lambda: Get("resnet18", widht=1),
        "widht=1: resnet18 takes width, halvings; did you mean width?",
    ),
    (
        lambda: faltung.set_threads(n_jobs=2),  # type: ignore[call-arg]
        "n_jobs=2: set_threads has no such argument; did you mean n?",
    ),
    (
        lambda: model().predict(SAMPLES, batch_size=4),
        "batch_size=4: predict has no such argument; leave it out: samples are predicted in "
        "batches of the best size",
    ),
    (
        lambda: fit(shuffle=True),
        "shuffle=True: fit has no such argument; leave it out: each epoch has an order of its own, "
        "which follows from the seed",
    ),
    (
        lambda: model().fit(SAMPLES, LABELS, 5),
        "fit: takes x and y by position, options by name",
    ),
    *[
        (
            lambda given=given: fit(**{given: 1}),  # type: ignore[misc]
            f"{given}=1: fit has no such argument; did you mean {ours}?",
        )
        for given, ours in {
            "batch_size": "batch",
            "n_epochs": "epochs",
            "validation_data": "validation",
            "validation_split": "validation",
            "learning_rate": "lr",
            "weight_decay": "decay",
            "verbose": "show",
            "callback": "callbacks",
            "callbakcs": "callbacks",
            "class_weights": "class_weight",
            "random_state": "seed",
            "early_stopping": "patience",
            "label_smoothing": "smoothing",
            "clipnorm": "clip",
            "criterion": "loss",
            "lr_scheduler": "schedule",
            "optimiser": "optimizer",
            "data_augmentation": "augment",
        }.items()
    ],
]
# Of layers: options that are not called by their names.
LAYERS: list[Row] = [
    (
        lambda: layers.BatchNorm(64),
        "BatchNorm: takes options by name; it finds out how many channels its input has; write "
        "BatchNorm()",
    ),
    (
        lambda: layers.Conv(3, 16, 3),
        "Conv: takes channels and kernel by position, options by name; it finds out how many "
        "channels its input has; write Conv(16, 3)",
    ),
    (
        lambda: layers.Conv(3, 16, 3, 2, 1),
        "Conv: takes channels and kernel by position, options by name; it finds out how many "
        "channels its input has; write Conv(16, 3, stride=2, padding=1)",
    ),
    (
        lambda: layers.Linear(10, 5),
        "Linear: takes features by position, options by name; it finds out how many channels its "
        "input has; write Linear(5)",
    ),
    (
        lambda: layers.GroupNorm(8, 64),
        "GroupNorm: takes groups by position, options by name; it finds out how many channels its "
        "input has; write GroupNorm(8)",
    ),
    (
        lambda: layers.MaxPool(3, 2),
        "MaxPool: takes kernel by position, options by name; write MaxPool(3, stride=2)",
    ),
    (lambda: layers.Upsample(2), "Upsample: takes options by name; write Upsample(scale=2)"),
    (lambda: layers.ReLU(True), "ReLU: takes no arguments"),
    (lambda: layers.Conv(16), "kernel: must be given, as in Conv(channels, kernel)"),
    (
        lambda: layers.Sequential(nn.ReLU),
        "layers=<class 'faltung.nn.activation.ReLU'>: must be layers; call it: nn.ReLU()",
    ),
    (lambda: layers.Sequential("relu"), "layers='relu': must be layers; write nn.ReLU()"),
    (lambda: layers.Sequential(nn.ReLU(), None), "layers=None: must be layers"),
    (
        lambda: Model([nn.Flatten()], (1, 8, 8)),  # type: ignore[arg-type]
        "net=[Flatten()]: must be a layer of faltung.nn; write nn.Sequential(*layers)",
    ),
    (
        lambda: Model("resnet18", (3, 32, 32)),  # type: ignore[arg-type]
        "net='resnet18': must be a layer of faltung.nn; a network is made by its name with "
        "nets.get('resnet18')",
    ),
]
# Of names: what modules and models do not have.
NAMES: list[Row] = [
    (lambda: layers.Conv2d, "faltung.nn has no Conv2d; write nn.Conv(channels, kernel)"),
    (lambda: layers.Conv1d, "faltung.nn has no Conv1d; write nn.Conv(channels, kernel)"),
    (lambda: layers.Conv2D, "faltung.nn has no Conv2D; write nn.Conv(channels, kernel)"),
    (lambda: layers.Dense, "faltung.nn has no Dense; write nn.Linear(features)"),
    (lambda: layers.Dropout2d, "faltung.nn has no Dropout2d; write nn.Dropout(rate)"),
    (lambda: layers.BatchNorm2d, "faltung.nn has no BatchNorm2d; write nn.BatchNorm()"),
    (lambda: layers.MaxPool2d, "faltung.nn has no MaxPool2d; write nn.MaxPool(kernel)"),
    (lambda: layers.MaxPooling2D, "faltung.nn has no MaxPooling2D; write nn.MaxPool(kernel)"),
    (lambda: layers.GlobalAveragePooling2D, "faltung.nn has no GlobalAveragePooling2D; write "
     "nn.GlobalAvgPool()"),
    (lambda: layers.Conv2DTranspose, "faltung.nn has no Conv2DTranspose; write "
     "nn.ConvTranspose(channels, kernel)"),
    (lambda: layers.Relu, "faltung.nn has no Relu; write nn.ReLU()"),
    (lambda: layers.Module, "faltung.nn has no Module; write nn.Layer()"),
    (lambda: layers.CrossEntropyLoss, "faltung.nn has no CrossEntropyLoss; it is no layer: write "
     "fit(loss=...)"),
    (lambda: layers.Adam, "faltung.nn has no Adam; it is no layer: write fit(optimizer=..., "
     "lr=...)"),
    (lambda: layers.Something, "faltung.nn has no Something"),
    (lambda: faltung.Conv2d, "faltung has no Conv2d; write nn.Conv(channels, kernel)"),
    (lambda: faltung.relu, "faltung has no relu; write nn.ReLU()"),
    (lambda: faltung.convolve2d, "faltung has no convolve2d; write faltung.signal.convolve2d"),
    (lambda: faltung.maxpool2d, "faltung has no maxpool2d; did you mean max_pool2d?"),
    (lambda: faltung.gaussian_filter, "faltung has no gaussian_filter; write "
     "faltung.ndimage.gaussian_filter"),
    (lambda: faltung.load_model, "faltung has no load_model; write faltung.Model.load(path)"),
    (lambda: nets.resnet18, 'faltung.nets has no resnet18; write nets.get("resnet18")'),  # type: ignore[attr-defined]
    (lambda: model().train, "Model has no train; did you mean fit?"),
    (lambda: model().compile, "Model has no compile; leave it out: loss, optimizer and metric are "
     "keywords of fit"),
    (lambda: model().state_dict, "Model has no state_dict; did you mean parameters?"),
    (lambda: Get("resnet34"), "net='resnet34': there is no such network; did you mean resnet18?"),
    (lambda: Get("vgg19"), "net='vgg19': there is no such network; did you mean vgg16?"),
    (lambda: data.open_source("digitz"), "data=digitz: no such file or folder, nor a name "
     "(digits); did you mean digits?"),
]  # fmt: skip
# Of values: modes of padding, optimizers, losses, ...
VALUES: list[Row] = [
    (lambda: conv2d(X, W, padding="SAME"), f"padding='SAME': {SAME}; say padding='same'"),
    (lambda: conv2d(X, W, padding="full"), f"padding='full': {SAME}; write the size of the kernel "
     "less one, as padding=2 for a kernel of 3"),
    *[
        (
            lambda mode=mode: conv2d(X, W, padding=1, padding_mode=mode),  # type: ignore[misc]
            f"padding_mode={mode!r}: {MODES}; say padding_mode={ours!r}",
        )
        for mode, ours in {
            "mirror": "reflect",
            "nearest": "replicate",
            "wrap": "circular",
            "edge": "replicate",
            "BORDER_REFLECT": "symmetric",
        }.items()
    ],
    (lambda: conv2d(X, W, padding_mode="reflct"), f"padding_mode='reflct': {MODES}; did you mean "
     "reflect?"),
    (lambda: nn.build(nn.Conv(4, 3, padding=1, padding_mode="constant"), (3, 8, 8)),  # type: ignore[arg-type]
     "padding_mode='constant': must be one of zeros, reflect, symmetric, replicate, circular; say "
     "padding_mode='zeros' (in Conv 'conv1')"),
    (lambda: fit(optimizer="Adam"), "optimizer='Adam': must be one of sgd, adamw; did you mean "
     "adamw?"),
    (lambda: fit(schedule="onecycle"), "schedule='onecycle': must be one of constant, cosine, "
     "one_cycle; did you mean one_cycle?"),
    (lambda: fit(metric="acc"), "metric='acc': must be one of " + ", ".join(SCORES) + "; did you "
     "mean accuracy?"),
    (lambda: fit(loss="sparse_categorical_crossentropy"), "loss='sparse_categorical_crossentropy': "
     f"must be one of {', '.join(LOSSES)}, or a formula such as '{EXAMPLE}'; did you mean "
     "cross_entropy?"),
    (lambda: nn.build(nn.ReLU(), (3,), dtype="half"), "dtype='half': must be one of float32, "  # type: ignore[arg-type]
     "float64"),
]  # fmt: skip
# Of arrays and shapes.
ARRAYS: list[Row] = [
    (lambda: conv2d(X, W[0, 0]), "weight.shape=(3, 3): conv2d needs 4 dimensions, (C_out, C_in // "
     f"groups, *kernel){KERNEL}"),
    (lambda: conv2d(X[0, 0], W), "x.shape=(8, 8): must have 4 dimensions (batch, channels and 2 of "
     "space, as the weight says), or 3 without the batch; x[np.newaxis] has one channel"),
    (lambda: conv2d(np.ones((8, 8, 3), F), W), "weight.shape=(4, 3, 3, 3): its second entry must "
     "be channels_in // groups = 8 // 1; if the channels of x are its last axis, say "
     "channels_last=True"),
    (lambda: conv2d(X, W, channels_last=True), "weight.shape=(4, 3, 3, 3): its second entry must "
     "be channels_in // groups = 8 // 1; if the channels of x come before its space, leave "
     "channels_last out"),
    (lambda: conv2d(X.astype(np.uint8), W), "x.dtype=uint8: must be float32, float64, float16, "
     "ml_dtypes.bfloat16, int32, int64, complex64 or complex128; write x.astype(\"float32\"), or "
     "take faltung.ndimage or faltung.signal, which take what SciPy takes"),
    (lambda: conv2d(None, W), "x=None: must be an array"),
    (lambda: conv2d("dog.jpg", W), f"x='dog.jpg': {FILE}"),
    (lambda: faltung.max_pool("dog.jpg", 2), f"x='dog.jpg': {FILE}"),
    (lambda: model().predict("dog.jpg"), f"x='dog.jpg': {FILE}"),
    (lambda: model().fit("pictures/"), f"x='pictures/': {FILE}"),
    (lambda: model().fit(SAMPLES), "y: must be given with x, unless that is a source, as "
     "data.open_source opens one"),
    (lambda: model().fit(SAMPLES, LABELS + 1), "y[1]=2: must be a label below 2, from 0 on"),
    (lambda: model().fit(SAMPLES, np.array(["a", "b", "c", "d"])[np.arange(20) % 4]), "y: has 4 "
     "different words, and the network 2 outputs; Model(..., classes=[...]) names them"),
    (lambda: model().predict(None), "x=None: must be an array"),
    (lambda: faltung.max_pool(np.zeros((3, 64, 48)), 2), "x.shape=(3, 64, 48): may be (N, C, L), "
     "series, or (C, H, W), a picture without a batch; say which, by kernel=(2,) or kernel=(2, 2)"),
    (lambda: faltung.global_avg_pool(np.zeros((3, 64, 48))), "x.shape=(3, 64, 48): may be (N, C, "
     "L), series, or (C, H, W), a picture without a batch; say which, by rank=1 or rank=2"),
    (lambda: faltung.max_pool2d(np.zeros((64, 48)), 2), "x.shape=(64, 48): must have 4 dimensions "
     "(batch, channels and one for each entry of kernel=(2, 2)), or 3 without the batch"),
    (lambda: Model(nn.Flatten(), (None, 1, 8, 8)), "input_shape=(None, 1, 8, 8): is the shape of "  # type: ignore[arg-type]
     "one sample, without the batch; write (1, 8, 8)"),
    (lambda: Model(nn.Flatten(), (-1, 1, 8, 8)), "input_shape=(-1, 1, 8, 8): is the shape of one "
     "sample, without the batch; write (1, 8, 8)"),
    (lambda: Model(nn.Flatten(), 8), "input_shape=8: must be the shape of a sample, as (8,) for "  # type: ignore[arg-type]
     "vectors or (1, 8, 8) for pictures"),
    (lambda: Model(nn.Conv(4, 3), (32, 1, 8, 8)), "Conv 'conv1' needs at least 3x3x3, got 1x8x8 "
     "from the input; input_shape=(32, 1, 8, 8) is a volume (C, D, H, W), and a picture without "
     "the batch is (1, 8, 8)"),
    (lambda: Get("resnet18", input_shape=(32, 32, 3)), "input_shape=(32, 32, 3): must have the "
     "channels first; write (3, 32, 32)"),
]  # fmt: skip
# Of the command line, whose messages speak of options.
LINES: list[Row] = [
    ("trian digits", "trian: there is no such command (did you mean train?)"),
    ("fit digits", "fit: there is no such command (did you mean train?)"),
    ("test run", "test: there is no such command (did you mean evaluate?)"),
    ("benchmark x", "benchmark: there is no such command (did you mean bench?)"),
    ("train digts", "train: digts: no such file or folder, nor a name (digits); did you mean "
     "digits?"),
    *[
        (
            f"train digits {theirs} 3",
            f"train: {theirs}: there is no such option (did you mean {ours}?)",
        )
        for theirs, ours in {
            "--batch-size": "--batch",
            "--learning-rate": "--lr",
            "--lr0": "--lr",
            "--num-epochs": "--epochs",
            "--validation-split": "--held-out",
            "--weight-decay": "--decay",
            "--model": "--net",
            "--workers": "--threads",
            "--output-dir": "--out",
            "--imgsz": "--size",
            "--class-weights": "--class-weight",
        }.items()
    ],
    ("train digits --device cuda", "train: --device: there is no such option; leave it out: "
     "faltung computes on the processor"),
    ("train digits --net resnet34", "train: --net resnet34: there is no such network; did you mean "
     "resnet18?"),
    ("train digits --net resnet18 --set widht=0.5", "train: --set widht=0.5: resnet18 takes width, "
     "halvings; did you mean width?"),
    ("train digits --optimizer Adam", "train: --optimizer Adam: must be one of sgd, adamw; did you "
     "mean adamw?"),
    ("summary resnet18 --input 32x32", "summary: --input 32x32: has no channels; write 3x32x32 or "
     "1x32x32 for a picture, or c32x32 for a series of 32 steps with 32 channels"),
    ("summary resnet18 --input 32x32x3", "summary: --input 32x32x3: must have the channels first; "
     "write 3x32x32"),
]  # fmt: skip
TABLE: dict[str, Row] = {
    f"{name} {number}": row
    for name, rows in {
        "argument": ARGUMENTS,
        "layer": LAYERS,
        "name": NAMES,
        "value": VALUES,
        "array": ARRAYS,
        "line": LINES,
    }.items()
    for number, row in enumerate(rows)
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def typed(line: str) -> str:
    """What a command line says that is refused, without its program and its help."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            status = main(line.split())
        except SystemExit as stop:
            status = int(stop.code or 0)
    assert status == 2, said.getvalue()
    (text,) = said.getvalue().splitlines()
    return re.sub(r"; see `faltung [^`]*`$", "", re.sub("^faltung:? ", "", text))


@pytest.mark.parametrize("name", TABLE)
def test_what_is_said(name: str) -> None:
    call, said = TABLE[name]
    if isinstance(call, str):
        assert typed(call) == said
        return
    with pytest.raises((faltung.FaltungError, OSError)) as error:
        call()
    assert str(error.value) == said


def test_what_simply_works() -> None:
    assert layers.Sequential([nn.Flatten(), nn.Linear(2)]) == nn.Sequential(
        nn.Flatten(), nn.Linear(2)
    )
    labels = {
        "one-hot": np.eye(2)[LABELS],
        "floats": LABELS.astype(float),
        "a column": LABELS[:, np.newaxis],
        "words": np.array(["cat", "dog"])[LABELS],
        "words of pandas": np.array(["cat", "dog"])[LABELS].astype(object),
    }
    wanted = fit()
    for name, y in labels.items():
        got = model().fit(SAMPLES, y, epochs=1, show=False)
        assert got[-1].loss == wanted[-1].loss, name
    last = np.moveaxis(SAMPLES, 1, -1)
    assert model().fit(last, LABELS, epochs=1, show=False)[-1].loss == wanted[-1].loss
    np.testing.assert_array_equal(model().predict(last[0]), model().predict(SAMPLES[0]))


def test_words_as_labels_name_the_classes() -> None:
    made, y = model(), np.array(["cat", "dog"])[LABELS]
    with pytest.raises(faltung.FaltungError, match="not one of the classes cat, dog"):
        made.fit(SAMPLES, y, validation=(SAMPLES, ["cow"] * 20), epochs=1, show=False)
    assert made.classes is None
    made.fit(SAMPLES, y, validation=(SAMPLES[:2], ["cat"] * 2), epochs=1, show=False)
    assert made.classes == ("cat", "dog")
    assert made.evaluate(SAMPLES, y) == made.evaluate(SAMPLES, LABELS)


def test_samples_of_the_training_are_said() -> None:
    made = model()
    made.fit(SAMPLES, LABELS, validation=0.2, epochs=1, show=False)
    with pytest.warns(UserWarning, match=r"^x: the model was trained on 16 of these 20 samples; on "
                      r"the 4 that fit held out: loss \d\.\d+, accuracy \d\.\d+$"):  # fmt: skip
        made.evaluate(SAMPLES, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.evaluate(SAMPLES[::-1], LABELS)
        made.fit(SAMPLES, LABELS, epochs=1, show=False)
        made.evaluate(SAMPLES, LABELS)


def names_of(table: dict[str, str]) -> set[str]:
    return {name for name in table if " " not in name}


def test_the_table_of_words_names_what_there_is() -> None:
    assert names_of(words.LAYERS) <= set(nn.__all__)
    assert names_of(words.FUNCTIONS) <= set(faltung.__all__)
    assert names_of(words.NETS) <= set(nets.NETS)
    assert names_of(words.COMMANDS) <= set(COMMANDS)
    assert names_of(words.METHODS) <= set(dir(Model))
    assert set(words.CHANNELS_IN) <= set(nn.__all__)
    for table in (words.LAYERS, words.FUNCTIONS, words.NETS, words.COMMANDS, words.ARGUMENTS):
        for ours, theirs in table.items():
            assert len(set(theirs.split())) == len(theirs.split()), ours
            assert ours not in theirs.split()
