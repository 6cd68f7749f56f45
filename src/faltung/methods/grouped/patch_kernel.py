"""The code that copies a row of a patch of the input to where its positions are contiguous."""

from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions

# What copies one row of a patch.
COPIED = parameters(["x", "to"], ["before", "loaded", "behind", "x_position", "x_block", "patch"])


def write_copy(code: Functions, inputs: int, blocks: int) -> None:
    """The function that copies one row of a patch for ``blocks`` blocks, with its zeros."""
    v = code.open(f"copy{blocks}", COPIED)
    f = v.function
    to_block = [f.mul("%patch", b) if b else "0" for b in range(blocks)]
    x_block = [f.mul("%x_block", b) if b else "0" for b in range(blocks)]
    vectors = [
        (b, first, min(v.lanes, inputs - first))
        for b in range(blocks)
        for first in range(0, inputs, v.lanes)
    ]
    to = "%to"
    for name in ("before", "loaded", "behind"):
        moving = [(to, str(inputs)), ("%x", "%x_position")][: 1 + (name == "loaded")]
        with v.walk(0, f"%{name}", moving) as position:
            to, *x = position.values
            values = [
                v.load_exact(v.at(v.at(at, x_block[b]), i), count)
                for at in x
                for b, i, count in vectors
            ] or [v.zero] * len(vectors)
            for (b, first, count), value in zip(vectors, values, strict=True):
                v.store_exact(value, v.at(v.at(to, to_block[b]), first), count)
        to = position.results[0]
