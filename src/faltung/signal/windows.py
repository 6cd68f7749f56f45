"""Low-pass filters by the window method: the taps that SciPy's ``firwin`` would give, in NumPy."""

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array

# Coefficients of sums of cosines: F. J. Harris, "On the use of windows for harmonic analysis with
# the discrete Fourier transform", 1978; A. H. Nuttall, "Some windows with very good sidelobe
# behavior", 1981; G. D'Antona, A. Ferrero, "Digital Signal Processing for Measurement Systems".
COSINES = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 1.0 - 0.54),
    "blackman": (0.42, 0.50, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
# Other names of the same.
SHORT = {
    **{"hanning": "hann", "han": "hann", "hamm": "hamming", "ham": "hamming"},
    **{"black": "blackman", "blk": "blackman", "nutl": "nuttall", "nut": "nuttall"},
    **{"blackharr": "blackmanharris", "bkh": "blackmanharris", "flat": "flattop"},
    **{"flt": "flattop", "box": "boxcar", "ones": "boxcar", "rect": "boxcar"},
    **{"rectangular": "boxcar", "bart": "bartlett", "brt": "bartlett", "ksr": "kaiser"},
    **{"triangle": "triang", "tri": "triang", "halfcosine": "cosine", "gauss": "gaussian"},
    "gss": "gaussian",
}


def _cosine_sum(n: int, *coefficients: float) -> Array:
    angle = np.linspace(-pi, pi, n)
    return np.asarray(sum(a * np.cos(k * angle) for k, a in enumerate(coefficients)))


def _triangle(n: int) -> Array:
    half = np.arange(1, (n + 1) // 2 + 1)
    rise = 2 * half / (n + 1.0) if n % 2 else (2 * half - 1.0) / n
    return np.concatenate([rise, rise[::-1][n % 2 :]])


def _gaussian(n: int, std: float) -> Array:
    return np.asarray(np.exp(-((np.arange(n) - (n - 1.0) / 2.0) ** 2) / (2 * std * std)))


# How many numbers follow the name in a tuple, and the window of n entries.
OTHERS: dict[str, tuple[int, Callable[..., Array]]] = {
    "boxcar": (0, np.ones),
    "bartlett": (0, np.bartlett),
    "cosine": (0, lambda n: np.sin(pi / n * (np.arange(n) + 0.5))),
    "triang": (0, _triangle),
    "kaiser": (1, np.kaiser),
    "gaussian": (1, _gaussian),
    "general_hamming": (1, lambda n, alpha: _cosine_sum(n, alpha, 1.0 - alpha)),
}


def window_of(window: Any, n: int) -> Array:
    """A symmetric window of ``n`` entries: a name, a tuple of a name and its numbers, or the beta
    of a Kaiser window.
    """
    if isinstance(window, (int, float)) and not isinstance(window, bool):
        window = ("kaiser", window)
    name, *numbers = window if isinstance(window, tuple) and window else (window,)
    name = SHORT.get(name, name) if isinstance(name, str) else None
    if name in COSINES and not numbers:
        return np.ones(1) if n == 1 else _cosine_sum(n, *COSINES[name])
    if name in OTHERS and len(numbers) == OTHERS[name][0]:
        return np.ones(1) if n == 1 else OTHERS[name][1](n, *map(float, numbers))
    known = sorted([*COSINES, *(k for k, (count, _) in OTHERS.items() if not count)])
    pairs = ", ".join(f"({k!r}, number)" for k, (count, _) in OTHERS.items() if count)
    raise FaltungError(
        f"window={window!r}: unknown window; must be one of {', '.join(known)}, {pairs}, or an "
        "array of taps, such as scipy.signal.firwin(...) gives for any other window"
    )


def low_pass(taps: int, cutoff: float, window: Any) -> Array:
    """A low-pass filter whose response at frequency 0 is 1: a windowed sinc.

    ``cutoff``: where the response is a half, as a fraction of half the sampling rate.
    """
    if not 0 < cutoff < 1:
        raise FaltungError(f"cutoff={cutoff}: must be between 0 and 1, the Nyquist frequency")
    at = np.arange(taps) - 0.5 * (taps - 1)
    made = cutoff * np.sinc(cutoff * at) * window_of(window, taps)
    return np.asarray(made / made.sum())
