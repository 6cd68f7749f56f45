"""Which arrays of a file are samples and targets."""

from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.data import Like, open_source, read_files

X, Y = np.arange(12 * 64).reshape(12, 8, 8).astype(np.uint8), np.arange(12) % 2


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("x", "y"), [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target"), ("X", "Y")]
)
def test_known_pairs(x: str, y: str, tmp_path: Path) -> None:
    source = open_source(saved(tmp_path / "a.npz", **{x: X, y: Y, "other": Y}))
    assert source.shape == (1, 8, 8)
    np.testing.assert_array_equal(source.targets, Y)
    samples, _ = read_files([tmp_path / "a.npz"], Like("picture", (1, 8, 8)))
    np.testing.assert_array_equal(samples, source.read(range(12)))


def mnist(path: Path) -> Path:
    """As in Keras's mnist.npz: the training part and the test part."""
    return saved(path, x_train=X, y_train=Y, x_test=X[:4] // 2, y_test=Y[:4])


def medmnist(path: Path) -> Path:
    """As in MedMNIST: three parts, labels (n, 1)."""
    parts = {"train": X, "val": X[:4] // 2, "test": X[:6] // 3}
    arrays = {f"{part}_images": x for part, x in parts.items()}
    arrays |= {f"{part}_labels": Y[: len(x), np.newaxis] for part, x in parts.items()}
    return saved(path, **arrays)


def test_files_with_their_own_split(tmp_path: Path) -> None:
    like = Like("picture", (1, 8, 8))
    for make, held, last in ((mnist, X[:4] // 2, X[:4] // 2), (medmnist, X[:4] // 2, X[:6] // 3)):
        path = make(tmp_path / "a.npz")
        source = open_source(path)
        assert len(source) == 12
        own = source.held  # type: ignore[attr-defined]
        np.testing.assert_array_equal(own.stored(range(4))[:, 0], held)
        # A network that is trained already is evaluated on what it has not seen.
        unseen = open_source(path, like=like, classes=source.classes)
        np.testing.assert_array_equal(unseen.read(range(len(last)))[:, 0], last / np.float32(255))
        samples, _ = read_files([path], like)
        np.testing.assert_array_equal(samples[:, 0], last / np.float32(255))
    chosen = open_source(path, x="val_images", y="val_labels")
    assert len(chosen) == 4 and chosen.held is None  # type: ignore[attr-defined]


def test_a_run_holds_out_what_the_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    words = ["train", str(mnist(tmp_path / "a.npz")), "--epochs=1", f"--out={run}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "12 samples, 1 channel, 8x8, values 0..255 -> /255; 2 classes; 4 held out as the data say\n"
    )
    assert "best weights on 4 held-out samples" in said
    assert main(["evaluate", run]) == 0
    assert "samples   4" in capsys.readouterr().out
    assert main(["evaluate", run, str(tmp_path / "a.npz"), "--x", "x_train", "--y=y_train"]) == 0
    assert "samples   12" in capsys.readouterr().out
    assert main(["train", *words[1:-1], "--held-out=0.5", f"--out={tmp_path / 'other'}"]) == 0
    assert "best weights on 6 held-out samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "more", "message"),
    [
        (("a", "b"), {}, "a.npz: has no array called 'x' or 'y', but a (12, 8, 8) uint8, b (12"),
        (("x", "b"), {}, "a.npz: has no array called 'y', but x (12, 8, 8) uint8, b (12,) int64; "),
        (("a", "b"), {"x": "c"}, "x=c: a.npz has a (12, 8, 8) uint8, b (12,) int64"),
        (("a", "b"), {"x": "a"}, "a.npz: has no array called 'y', but a (12, 8, 8)"),
        (("a", "b"), {"x": "a", "y": "x"}, "y=x: a.npz has a (12"),
    ],
)
def test_refusals(
    arrays: tuple[str, str], more: dict[str, str], message: str, tmp_path: Path
) -> None:
    saved(tmp_path / "a.npz", **dict(zip(arrays, (X, Y), strict=True)))
    with pytest.raises(ValueError) as error:
        open_source(tmp_path / "a.npz", **more)
    assert str(error.value).startswith(message)


def test_samples_are_chosen_for_prediction(tmp_path: Path) -> None:
    like = Like("picture", (1, 8, 8))
    saved(tmp_path / "a.npz", first=X, second=X // 2)
    with pytest.raises(ValueError, match=r"has no array called 'x', but first .*--x NAME"):
        read_files([tmp_path / "a.npz"], like)
    got, _ = read_files([tmp_path / "a.npz"], like, x="second")
    np.testing.assert_array_equal(got[:, 0], X // 2 / np.float32(255))
    saved(tmp_path / "a.npz", whatever=X, y=Y)
    assert len(read_files([tmp_path / "a.npz"], like)[0]) == 12
