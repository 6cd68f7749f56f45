"""``filter_bank``: many kernels over one signal, or one kernel over many channels, in one call."""

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array
from faltung.signal.arguments import array, axis_of, mode_of
from faltung.signal.sums import Window, convolved


def filter_bank(
    x: ArrayLike, kernels: ArrayLike, *, axis: int = -1, mode: str = "full", strict: bool = False
) -> Array:
    """Convolve every channel of a signal with every kernel of a bank, in one pass over the signal.

    Parameters
    ----------
    x : array_like, ``(*channels, samples)``
        Any axis may be that of the samples.
    kernels : array_like, ``(kernels, taps)`` or ``(taps,)``
    axis : int
        The axis of ``x`` with the samples.
    mode : {"full", "same", "valid"}
        As for ``convolve``, whose first array is ``x``. "valid" needs as many samples as taps.
    strict : bool
        Plain sums of products only, no transforms.

    Returns
    -------
    ndarray, ``(kernels, *channels, samples)``
        The samples on the axis where ``x`` has them, after the axis of the kernels, which is absent
        for a single kernel. Of NumPy's common dtype; whole numbers are exact.

    Raises
    ------
    ValueError
        Shapes, modes or an axis that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> x = np.array([[1.0, 2.0, 4.0], [1.0, 0.0, 1.0]])  # two channels
    >>> bank = np.array([[0.5, 0.5], [1.0, -1.0]])  # a mean and a difference
    >>> signal.filter_bank(x, bank, mode="valid").shape
    (2, 2, 2)
    """
    signal, bank = array("x", x), array("kernels", kernels)
    if signal.ndim == 0 or bank.ndim not in (1, 2) or not bank.shape[-1]:
        raise FaltungError(
            f"x.shape={signal.shape}, kernels.shape={bank.shape}: must be (*channels, samples) and "
            "(kernels, taps) or (taps,)"
        )
    at, mode = axis_of(axis, signal.ndim), mode_of(mode)
    lines = np.moveaxis(signal, at, -1)
    channels, samples = lines.shape[:-1], lines.shape[-1]
    if mode == "valid" and samples < bank.shape[-1]:
        raise FaltungError(
            f"x.shape={signal.shape}, kernels.shape={bank.shape}: 'valid' needs at least as many "
            "samples as taps"
        )
    count = 1 if bank.ndim == 1 else bank.shape[0]
    a = lines.reshape(-1, 1, samples)
    k = bank.reshape(1, count, -1)
    window = Window(mode, a.shape, k.shape, (2,))
    # (channels, kernels, samples): the kernels as output channels of each channel.
    made = convolved(a, k, window, strict=strict)
    made = np.moveaxis(made, 1, 0).reshape(count, *channels, made.shape[-1])
    made = np.moveaxis(made, -1, at + 1)
    return made[0] if bank.ndim == 1 else made
