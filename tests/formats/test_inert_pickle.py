"""Pickles are read, and nothing in them is run."""

import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from faltung.formats.inert_pickle import Call, Name, read_pickle, said


def refuse(identifier: Any) -> Any:
    raise ValueError(f"a pickle refers to {identifier}")


def read(data: bytes) -> Any:
    return read_pickle(data, {"collections.OrderedDict": lambda *_: {}}, refuse)[0]


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol: int) -> None:
    value = {
        "text": "a\u20ac",
        "numbers": [0, 1, -1, 255, 65536, 1 << 70, 2.5, None, True, False],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "bytes": b"x" * 300,
        "same": [[]] * 3,
        "ordered": OrderedDict(a=1, b=[2]),
    }
    found = read(pickle.dumps(value, protocol))
    del found["bytes"], value["bytes"]  # of old protocols a call, which nobody makes
    assert found == value


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_calls_are_never_made(protocol: int, tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    for call in ((os.mkdir, made), (eval, f"open({made!r}, 'w')"), (os.system, f"touch {made}")):
        try:
            found = read(pickle.dumps([1, Evil(*call), {"a": Evil(*call)}], protocol))
        except ValueError:  # instructions of text that no tensor needs
            assert protocol == 0
        else:
            assert isinstance(found[1], Call) and isinstance(found[1].of, Name)
    assert not list(tmp_path.iterdir())


def test_objects_are_not_filled() -> None:
    class Odd:
        def __setstate__(self, state: Any) -> None:
            raise AssertionError

    Odd.__module__, Odd.__qualname__ = __name__, "Odd"
    globals()["Odd"] = Odd
    thing = Odd()
    thing.__dict__["x"] = 1
    found = read(pickle.dumps({"odd": thing, "b": 2}, 2))
    assert isinstance(found["odd"], Call) and found["b"] == 2


def test_keys_that_are_no_text_are_left_out() -> None:
    """A tuple of tuples of tuples may take for ever to be hashed."""
    key: Any = ()
    for _ in range(80):
        key = (key, key)
    data = b"\x80\x02}(" + b")" + b"q\0h\0\x86" * 40 + b"K\x01X\x01\0\0\0aK\x02u."
    assert read(data) == {"a": 2}
    assert (
        said(key) == "a tuple" and said(1 << 99999) == "a int" and said("a" * 99) == repr("a" * 60)
    )


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b".", b"\x80\x02.", b"(.", b"t.", b"u.", b"a.", b"R.", b"h\0.", b"\x85.", b"0."),
        *(
            b"X\xff\xff\xff\xffa.",
            b"\x8d" + b"\xff" * 8 + b".",
            b"\x8b\xff\xff\xff\x7f.",
            b"I" + b"9" * 9999,
        ),
        *(
            b"\x80\x02}(K\x01u.",
            b"cos\nsystem\n",
            b"\xff",
            b"\x80\x02(i__main__\nf\n.",
            b"}(J\0\0\0\0s.",
        ),
    ],
)
def test_what_is_no_pickle(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a whole pickle|has the instruction"):
        read(data)


def test_every_instruction_is_read_or_refused() -> None:
    """Whatever is on the stack."""
    for before in (b"", b"(", b"K\x01K\x02K\x03", b"(K\x01K\x02K\x03", b"}})(", b"cos\nsystem\n)"):
        for opcode in pickletools.opcodes:
            code = opcode.code.encode("latin-1")
            argument = b"" if opcode.arg is None else b"a\nb\n" + bytes(9)
            try:
                read(before + code + argument + b".")
            except ValueError as error:
                assert "pickle" in str(error) or "instruction" in str(error)
