"""State dicts of ``torch.save``: the numbers that they have, and files that nobody should trust."""

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_files as files

from faltung.formats import state_dict
from faltung.formats.state_dict import load_state_dict
from faltung.geometry.errors import FaltungMemoryError

F = np.float32
ARRAYS: dict[str, Any] = {
    "conv.weight": np.arange(24, dtype=F).reshape(2, 3, 4),
    "conv.bias": np.array([1.5, -2], np.float64),
    "count": np.array(7),
    "half": np.array([0.5, 2], np.float16),
    "bytes": np.arange(5, dtype=np.uint8),
    "yes": np.array([True, False]),
    "none": np.zeros((0, 3), F),
}


def load(tmp_path: Path, data: bytes) -> dict[str, Any]:
    (tmp_path / "w.pth").write_bytes(data)
    return load_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("form", [files.saved, files.stream])
def test_numbers(form: Any, tmp_path: Path) -> None:
    found = load(tmp_path, form(ARRAYS))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("old", [False, True])
def test_what_pytorch_writes(old: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(24.0).reshape(4, 6)
    given = {
        "transposed": x.t(),
        "part": x[1:, ::2],
        "bfloat16": x.bfloat16(),
        "parameter": torch.nn.Parameter(x),
        "number": torch.tensor(5),
        "tied": x,
    }
    wrapped = {"epoch": 3, "state_dict": {f"module.{n}": v for n, v in given.items()}, "lr": [0.1]}
    for what in (given, wrapped):
        torch.save(what, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
        found = load_state_dict(tmp_path / "w.pth")
        assert found.keys() == given.keys()
        for name, tensor in given.items():
            np.testing.assert_array_equal(found[name], tensor.detach().to(x.dtype).numpy())
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(
        ValueError, match=r"no table of tensors; in PyTorch, torch\.save\(model\.sta"
    ):
        load_state_dict(tmp_path / "w.pth")


def test_the_other_byte_order(tmp_path: Path) -> None:
    body, storages = files.tensors({"a": ARRAYS["conv.weight"]})
    swapped = {key: np.frombuffer(data, F).byteswap().tobytes() for key, data in storages.items()}
    found = load(tmp_path, files.archive(body, swapped, order=b"big"))
    np.testing.assert_array_equal(found["a"], ARRAYS["conv.weight"])


def one(*tensor: Any, storages: dict[str, bytes] | None = None, **more: Any) -> bytes:
    """A file with one tensor, by default of a storage of 16 bytes."""
    body = files.table({"a": files.tensor(*tensor)})
    return files.archive(body, {"0": bytes(16)} if storages is None else storages, **more)


BIG = 1 << 61
HOSTILE: dict[str, tuple[bytes, str]] = {
    "beyond": (one("0", "Float", 4, 1, (4,), (1,)), "lies beyond its storage"),
    "strides": (one("0", "Float", 4, 0, (2, 2), (3, 1)), "lies beyond its storage"),
    "expanded": (one("0", "Float", 4, 0, (1 << 20, 4), (0, 1)), "lies beyond its storage"),
    "huge": (one("0", "Float", 4, 0, (BIG, BIG), (1, 1)), "without a size"),
    "huge stride": (one("0", "Float", 4, 0, (2, 2), (1 << 99, 1)), "without a size"),
    "huge number": (one("0", "Float", 4, 1 << (8 << 16), (2,), (1,)), "without a size"),
    "negative": (one("0", "Float", 4, 0, (2,), (-1,)), "without a size"),
    "axes": (one("0", "Float", 4, 0, (1,) * 40, (1,) * 40), "of 40 axes and 40 strides"),
    "strides missing": (one("0", "Float", 4, 0, (1, 1), (1,)), "of 2 axes and 1 strides"),
    "count": (one("0", "Float", 1 << 59, 0, (4,), (1,)), "'0' has"),
    "short": (one("0", "Float", 9, 0, (4,), (1,)), "'0' has 16 bytes: must be 36"),
    "missing": (one("9", "Float", 4, 0, (4,), (1,)), "storage '9' is missing"),
    "complex": (
        one("0", "ComplexFloat", 4, 0, (4,), (1,)),
        "numbers of 'torch.ComplexFloatStorage'",
    ),
    "packed": (one("0", "Float", 4, 0, (4,), (1,), compression=zipfile.ZIP_DEFLATED), "is packed"),
    "order": (one("0", "Float", 4, 0, (4,), (1,), order=b"middle"), "byteorder=b'middle': must be"),
    "empty": (files.archive(files.table({}), {}), "has no tensors, but"),
    "no table": (files.archive(b"K\x01", {}), "has no table of tensors"),
    "no pickle": (files.archive(b"\xff", {}), "not a whole pickle"),
    "no zip": (b"PK\3\4" + bytes(99), "not a whole zip"),
    "end alone": (b"PK\5\6" + bytes(18), "has no data.pkl"),
    "not a file": (b"not such a file", "not a whole pickle"),
    "another": (b"\x80\x02K\x01.", "does not begin as such a file"),
    "identifier": (
        files.archive(files.table({"a": b"(K\x01K\x02tQ"}), {}),
        "refers to 1, which is no storage",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_claim_too_much(name: str, tmp_path: Path) -> None:
    data, says = HOSTILE[name]
    with pytest.raises(ValueError, match=f"w.pth: not weights of torch.save, .*{re.escape(says)}"):
        load(tmp_path, data)


def test_nothing_is_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    call = b"cposix\nmkdir\n(" + files.text(str(made)) + b"tR"
    body, storages = files.tensors({"a": np.ones(3, F)})
    evil = b"}(" + files.text("x") + call + files.text("state_dict") + body + b"u"
    found = load(tmp_path, files.archive(evil, storages))
    assert list(found) == ["a"] and not made.exists()
    class_ = b"cbuiltins\neval\n(" + files.text(f"__import__('os').mkdir({str(made)!r})") + b"tR"
    found = load(tmp_path, files.archive(files.table({"a": class_} | {}) + b"0" + body, storages))
    assert list(found) == ["a"] and not made.exists()


def test_many_tensors_of_one_storage_take_its_memory_once(tmp_path: Path) -> None:
    count = 1 << 16
    each = files.tensor("0", "Float", count, 0, (count,), (1,))
    body = files.table({f"t{i}": each for i in range(2000)})
    found = load(tmp_path, files.archive(body, {"0": bytes(4 * count)}))
    assert sum(array.nbytes for array in found.values()) == 2000 * 4 * count
    base = {array.__array_interface__["data"][0] for array in found.values()}
    assert len(base) == 1
    widened = body.replace(b"FloatStorage", b"BFloat16Storage")
    needed: list[int] = []

    def full(size: int, *_: Any) -> None:
        needed.append(size)
        raise FaltungMemoryError("w.pth needs too much")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_dict, "require", full)
        with pytest.raises(MemoryError):  # asked before anything is widened
            load(tmp_path, files.archive(widened, {"0": bytes(2 * count)}))
    assert needed == [3 * 2000 * 2 * count]


def test_a_long_pickle(tmp_path: Path) -> None:
    body = b"(" + b"}" * (state_dict.MAX_PICKLE_BYTES + 1) + b"l"
    with pytest.raises(ValueError, match=r"data\.pkl: \d+ bytes: must be at most"):
        load(tmp_path, files.archive(body, {}))


@pytest.mark.parametrize("form", [files.saved, files.stream])
def test_damaged_files_are_refused_or_read(form: Any, tmp_path: Path) -> None:
    """Every cut, and bytes that are others."""
    data = form({"a": np.arange(6, dtype=F).reshape(2, 3), "b": np.ones(2, np.int64)})
    rng = np.random.default_rng(0)
    cases = [data[:size] for size in range(0, len(data), 7)]
    for _ in range(400):
        made = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            made[place] = rng.integers(0, 256)
        cases.append(bytes(made))
    refused = 0
    for case in cases:
        try:
            load(tmp_path, case)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{tmp_path}{os.sep}w.pth: ") and "\n" not in str(error)
    assert refused > len(cases) // 2
