"""Colours of samples, changed at random: each change is one linear map of the channels.

Numbers are as they were read; what leaves their range is not cut off.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

# The brightness of red, green and blue (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# From red, green and blue to brightness and two axes of colour, and back.
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
HUE = 0.25  # of a strength of 1: turns of the circle of colours


def grey_weights(channels: int) -> Floats:
    """How much each channel adds to the brightness."""
    return LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)


def brightness(x: Floats) -> Floats:
    """(n, *space): one number for all channels."""
    return np.asarray(np.tensordot(x, grey_weights(x.shape[1]), (1, 0)), np.float32)


def mixed(x: Floats, maps: npt.NDArray[Any], more: npt.NDArray[Any]) -> Floats:
    """maps (n, channels, channels) on the channels of x, plus more (n, channels)."""
    flat = x.reshape(*x.shape[:2], -1)
    made = maps.astype(np.float32) @ flat
    made += more.astype(np.float32)[..., np.newaxis]
    return made.reshape(x.shape)


def blended(x: Floats, other: Floats, factors: npt.NDArray[Any]) -> Floats:
    """other + factors * (x - other), where factors has one number for each sample."""
    wide = factors.astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1))
    return np.asarray(other + wide * (x - other), np.float32)


def brighter(x: Floats, factors: npt.NDArray[Any]) -> Floats:
    """x times a factor for each sample."""
    return blended(x, np.zeros((), np.float32), factors)


def contrasted(x: Floats, factors: npt.NDArray[Any]) -> Floats:
    """Away from the mean brightness of the sample, or towards it."""
    mean = brightness(x).reshape(len(x), -1).mean(1)
    return blended(x, mean.reshape(-1, *(1,) * (x.ndim - 1)), factors)


def saturated(x: Floats, factors: npt.NDArray[Any]) -> Floats:
    """Away from grey, or towards it. One channel is grey."""
    return x if x.shape[1] == 1 else blended(x, brightness(x)[:, np.newaxis], factors)


def turned_hue(x: Floats, turns: npt.NDArray[Any]) -> Floats:
    """Colours turned about grey, in turns of their circle; needs red, green and blue."""
    if x.shape[1] != 3:
        return x
    angles = 2 * np.pi * turns
    turn = np.tile(np.eye(3), (len(x), 1, 1))
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angles)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angles), np.sin(angles)
    return mixed(x, np.linalg.inv(YIQ) @ turn @ YIQ, np.zeros((len(x), 3)))


def colour(x: Floats, strength: float, random: Random) -> Floats:
    """Brightness, contrast and saturation times a factor of 1 - strength to 1 + strength each, and
    hue turned by up to a quarter of that.
    """
    factors = random.uniform(max(0.0, 1 - strength), 1 + strength, (3, len(x)))
    turns = random.uniform(-1, 1, len(x)) * strength * HUE
    x = contrasted(brighter(x, factors[0]), factors[1])
    return turned_hue(saturated(x, factors[2]), turns)
