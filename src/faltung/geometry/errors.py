"""The errors that users cause and can mend: one class, so that ``except`` tells them from bugs.

Every argument, option or file that Faltung refuses raises a ``FaltungError``, which is a
``ValueError`` too. Where Python has a better word for the mistake, a subclass is both. The system's
own errors (``OSError`` for a file, ``MemoryError``) stay what they are. Any other exception that
leaves Faltung is a bug: please report it.
"""


class FaltungError(ValueError):
    """A mistake in what was given: an argument, an option or a file.

    Parameters
    ----------
    message : str
        One line: what was given, its value, the rule, and what to do instead.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> try:
    ...     faltung.conv1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), stride=0)
    ... except faltung.FaltungError as error:
    ...     print(error)
    stride=0: every stride must be at least 1
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if message.isprintable() else _one_line(message))


def _one_line(text: str) -> str:
    """On one line of printable characters, whatever a value or a name of a file holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


class FaltungTypeError(FaltungError, TypeError):
    """A mistake in the type of what was given."""


class FaltungRuntimeError(FaltungError, RuntimeError):
    """A mistake for which SciPy, whose place Faltung takes, raises a ``RuntimeError``."""


class FaltungIndexError(FaltungError, IndexError):
    """An axis that an array does not have."""


class FaltungAttributeError(FaltungError, AttributeError):
    """A name that a module or an object of ours does not have; the message says which it has."""


class FaltungMemoryError(FaltungError, MemoryError):
    """What was asked for does not fit into memory."""


class FaltungImportError(ImportError, FaltungError):
    """A package that comes with an extra is not installed; the message says how to get it."""


class FaltungArithmeticError(FaltungError, FloatingPointError):
    """A number that is not finite where training needs a finite one."""


class UnsupportedError(FaltungError):
    """What a model from elsewhere needs and Faltung does not have; the message names all of it."""
