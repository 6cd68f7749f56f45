"""What macOS tells about its processor, asked by name; standard library, and nothing here fails."""

import ctypes
import sys
from typing import Any

_LONGEST_BYTES = 256


def number(name: str) -> int | None:
    """A number of macOS, such as "hw.l1dcachesize"; None elsewhere, or where there is none."""
    data = _bytes(name)
    # 32 or 64 bits, both little-endian: what else there is, is no number.
    return int.from_bytes(data, "little", signed=True) if len(data) in (4, 8) else None


def text(name: str) -> str:
    """A text of macOS, such as "machdep.cpu.brand_string"; "" elsewhere, or where there is none."""
    return _bytes(name).split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _bytes(name: str) -> bytes:
    ask = _function()
    if ask is None:
        return b""
    room = ctypes.create_string_buffer(_LONGEST_BYTES)
    size = ctypes.c_size_t(_LONGEST_BYTES)
    failed = ask(name.encode(), room, ctypes.byref(size), None, ctypes.c_size_t(0))
    return b"" if failed else room.raw[: size.value]


def _function() -> Any:
    """``sysctlbyname`` of the C library; None where it is missing, or not that of macOS."""
    if "darwin" not in sys.platform:  # so written, what follows is type-checked everywhere
        return None
    try:
        return ctypes.CDLL(None).sysctlbyname
    except (AttributeError, OSError):
        return None
