"""Ways in and out of a model: files of other programs, and other outputs."""

import re
from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung import Model, nets, nn
from faltung.formats.files import write_whole

X, Y = shapes(40)


def lenet(classes: int = 2) -> Model:
    return Model(nets.get("lenet5", classes=classes, input_shape=(1, 8, 8)), (1, 8, 8))


def test_export_by_the_ending(tmp_path: Path) -> None:
    model = lenet()
    model.fit(X, Y, epochs=1, show=False)
    model.export(tmp_path / "m.safetensors")
    model.save(tmp_path / "saved.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (
        tmp_path / "saved.safetensors"
    ).read_bytes()
    pytest.importorskip("onnx")
    model.export(str(tmp_path / "m.onnx"))
    # The standardisation is a part of it.
    found = Model.from_onnx(tmp_path / "m.onnx").predict(X, softmax=False)
    np.testing.assert_allclose(found, model.predict(X, softmax=False), rtol=1e-4, atol=1e-4)
    model.export(tmp_path / "half.ONNX", dtype="float16")
    sizes = [(tmp_path / name).stat().st_size for name in ("m.onnx", "half.ONNX")]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_file_that_is_there_stays_if_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    from faltung.formats import onnx_export

    (tmp_path / "m.onnx").write_bytes(b"before")

    def full(path: Path, data: bytes) -> None:
        def write(file: object) -> None:
            file.write(data[:9])  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")

        write_whole(path, write)

    monkeypatch.setattr(onnx_export, "write_whole", full)
    with pytest.raises(OSError, match=r"m\.onnx: not written"):
        lenet().export(tmp_path / "m.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m", "must end in .onnx or .safetensors"),
        ("m.pth", "must end in .onnx or .safetensors; for PyTorch, torch.save(model.to_torch()."),
        ("m.pkl", "must end in .onnx or .safetensors; pickle.dump and joblib.dump take a model"),
    ],
)
def test_other_endings_say_what_to_do(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name}': {says}")):
        lenet().export(tmp_path / name)
    with pytest.raises(ValueError, match="coded=True: is for model"):
        lenet().export(tmp_path / "m.onnx", coded=True)
    assert not list(tmp_path.iterdir())


def test_another_head() -> None:
    old = lenet(2)
    old.fit(X, Y, epochs=2, show=False)
    for outputs, count in ((["a", "b", "c"], 3), (5, 5), (np.int64(2), 2)):
        new = old.with_outputs(outputs)  # type: ignore[arg-type]
        assert new.graph.output.shape == (count,)
        assert new.classes == (("a", "b", "c") if count == 3 else None)
        assert new.standard == old.standard and new.units == old.units
        same = {n for n, v in new.parameters.items() if np.array_equal(v, old.parameters[n])}
        # The bias begins with zeros in any case.
        assert {n.partition(".")[0] for n in set(new.parameters) - same} == {"linear3"}
    assert old.graph.output.shape == (2,)
    new = old.with_outputs(["a", "b", "c"])
    before = new.parameters
    new.fit(X, np.arange(40) % 3, epochs=1, freeze="all-but-last", show=False)
    changed = {n for n, v in new.parameters.items() if not np.array_equal(v, before[n])}
    assert changed == {"linear3.weight", "linear3.bias"}


def test_what_has_no_other_head() -> None:
    for outputs in ("cat", 0, 2.5):
        with pytest.raises((ValueError, TypeError), match=r"^outputs="):
            lenet().with_outputs(outputs)  # type: ignore[arg-type]
    model = Model(nn.Residual(nn.Conv(1, 3, padding="same")), (1, 8, 8))
    with pytest.raises(ValueError, match="outputs=3: the last layer of this network is none whose"):
        model.with_outputs(3)
