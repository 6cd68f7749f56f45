"""A first convolution: blur, sharpen and find the edges of a photograph.

    python examples/first_convolution.py [PICTURE.ppm]

Prints the edges as text, and writes all four pictures to ``first_convolution.png`` in the current
folder. Needs only Faltung and NumPy.
"""

import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import faltung

PICTURE = Path(__file__).parent / "coffee.ppm"
OUTPUT = Path("first_convolution.png")


def read_ppm(path: Path) -> np.ndarray:
    """Read a binary PPM as float32 (3, height, width), from 0 to 1: channels first."""
    magic, size, most, pixels = path.read_bytes().split(b"\n", 3)
    if magic != b"P6" or most != b"255":
        sys.exit(f"{path}: must be a binary PPM (P6) of 8 bits, without comments")
    width, height = map(int, size.split())
    image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    return np.ascontiguousarray(image.transpose(2, 0, 1)) / np.float32(255)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (3, height, width), from 0 to 1, as a PNG: a header, deflated rows, an end mark."""
    height, width = image.shape[1:]
    pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0).reshape(height, -1)
    rows = np.hstack([np.zeros((height, 1), np.uint8), pixels])  # a 0 before each row: no filter

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    body = zlib.compress(rows.tobytes(), 9)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def each_channel(kernel: np.ndarray) -> np.ndarray:
    """The same kernel (h, w) for red, green and blue: a weight (3, 1, h, w) for 3 groups."""
    return np.broadcast_to(kernel, (3, 1, *kernel.shape)).astype(np.float32)


def blur(image: np.ndarray) -> np.ndarray:
    """A 7 x 7 binomial kernel, nearly a Gaussian. Mirrored padding keeps the border bright."""
    row = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
    kernel = each_channel(np.outer(row, row))
    return faltung.conv2d(image, kernel, padding="same", padding_mode="symmetric", groups=3)


def sharpen(image: np.ndarray) -> np.ndarray:
    """The picture, plus its difference from the four neighbours."""
    kernel = each_channel(np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]))
    return faltung.conv2d(image, kernel, padding="same", padding_mode="symmetric", groups=3)


def edges(image: np.ndarray) -> np.ndarray:
    """The length of the gradient, (height, width): two output channels, each from all colours."""
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel
    weight = np.stack([across, across.T])[:, np.newaxis].repeat(3, axis=1).astype(np.float32)
    gradient = faltung.conv2d(image, weight, padding="same", padding_mode="symmetric")
    return np.hypot(gradient[0], gradient[1])


def letters(grey: np.ndarray, columns: int = 78) -> str:
    """A picture as text: brighter letters where the mean of a block of pixels is larger."""
    width = grey.shape[1]
    # The mean of a block is a convolution, too, with its size as stride. Letters are tall.
    across = -(-width // columns)
    block = (2 * across, across)
    mean = np.full((1, 1, *block), 1 / np.prod(block), np.float32)
    small = faltung.conv2d(np.ascontiguousarray(grey)[np.newaxis], mean, stride=block)[0]
    shades = " .:-=+*#%@"
    level = (small / small.max() * (len(shades) - 1)).round().astype(int)
    return "\n".join("".join(shades[i] for i in row).rstrip() for row in level)


def main() -> None:
    image = read_ppm(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
    start = time.perf_counter()
    blurred, sharper, outline = blur(image), sharpen(image), edges(image)
    once = time.perf_counter() - start
    start = time.perf_counter()
    blurred, sharper, outline = blur(image), sharpen(image), edges(image)
    again = time.perf_counter() - start

    print(letters(outline))
    print(f"\ninput {image.shape}: {image.shape[2]} x {image.shape[1]} pixels, 3 channels")
    print("blur      7x7  3 groups  ", blurred.shape)
    print("sharpen   3x3  3 groups  ", sharper.shape)
    print("edges     3x3  dense     ", outline.shape)
    print(f"the three took {once * 1e3:.1f} ms including compilation, then {again * 1e3:.2f} ms")

    grey = np.broadcast_to(outline / outline.max(), image.shape)
    top, bottom = np.concatenate([image, blurred], 2), np.concatenate([sharper, grey], 2)
    write_png(OUTPUT, np.concatenate([top, bottom], 1).repeat(2, 1).repeat(2, 2))
    print(f"wrote {OUTPUT}: the photograph, blurred, sharpened, and its edges")


if __name__ == "__main__":
    main()
