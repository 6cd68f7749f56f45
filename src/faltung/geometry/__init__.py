"""What is asked: problems as integers. Standard library only."""

from faltung.geometry.adjoint import (
    Phase,
    PhaseAxis,
    input_grad,
    transposed,
    unpadded,
    weight_grad,
)
from faltung.geometry.axis import MODES, Axis
from faltung.geometry.conv import DTYPES, ConvSpec, Ladder, conv_spec
from faltung.geometry.field import Field, join, receptive_field
from faltung.geometry.padding import Padding, PaddingMode, modes, pads
from faltung.geometry.pool import PoolSpec, pool_axes, pool_spec
from faltung.geometry.text import parse

__all__ = [
    "DTYPES",
    "MODES",
    "Axis",
    "ConvSpec",
    "Field",
    "Ladder",
    "Padding",
    "PaddingMode",
    "Phase",
    "PhaseAxis",
    "PoolSpec",
    "conv_spec",
    "input_grad",
    "join",
    "modes",
    "pads",
    "parse",
    "pool_axes",
    "pool_spec",
    "receptive_field",
    "transposed",
    "unpadded",
    "weight_grad",
]
