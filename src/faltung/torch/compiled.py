"""``faltung.torch.compile``: a model that runs as programs of ours, and is used as before."""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.torch.engine import Engine
from faltung.torch.errors import errors

# Methods of modules that mean the model, and not what wraps it.
_OF_MODEL = """
    state_dict load_state_dict parameters named_parameters buffers named_buffers children
    named_children modules named_modules get_parameter get_buffer get_submodule set_submodule
    register_parameter register_buffer register_module add_module get_extra_state set_extra_state
    extra_repr zero_grad _save_to_state_dict _load_from_state_dict _named_members
    _register_state_dict_hook register_state_dict_pre_hook register_load_state_dict_pre_hook
    register_load_state_dict_post_hook register_state_dict_post_hook
""".split()
# The same, where they return the module itself.
_OF_ITSELF = """
    train eval requires_grad_ to to_empty cpu cuda xpu ipu mtia float double half bfloat16 type
    share_memory apply _apply
""".split()
_OWN = frozenset(["_faltung_model", "_faltung_engine", "_faltung_options"])


class Compiled(nn.Module):
    """A model of PyTorch that runs as programs of ours; made by ``faltung.torch.compile``.

    Parameters, buffers, ``state_dict``, ``train``, attributes and methods are those of the model.
    """

    def __init__(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        super().__init__()
        own = self.__dict__
        own["_faltung_model"] = model
        own["_faltung_options"] = dict(options)
        own["_faltung_engine"] = engine_of(model, **options)
        # The dictionaries themselves, so that a module around this one finds what the model has.
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            own[name] = model.__dict__[name]
        del own["training"]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._faltung_engine(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            model = self.__dict__["_faltung_model"]
        except KeyError:
            raise AttributeError(name) from None
        return getattr(model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self._faltung_model, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._faltung_model, name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(type(self)), *vars(self), *dir(self._faltung_model)})

    def __repr__(self) -> str:
        return f"faltung.torch.compile({self._faltung_model!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Compiled":
        return Compiled(copy.deepcopy(self._faltung_model, memo), self._faltung_options)

    def __reduce__(self) -> Any:
        return Compiled, (self._faltung_model, self._faltung_options)

    def __len__(self) -> int:
        return len(self._faltung_model)

    def __getitem__(self, index: Any) -> Any:
        return self._faltung_model[index]

    def __bool__(self) -> bool:
        return True


def _delegated(name: str, itself: bool) -> Any:
    method = getattr(nn.Module, name)

    @functools.wraps(method)
    def call(self: Compiled, *args: Any, **kwargs: Any) -> Any:
        found = getattr(self._faltung_model, name)(*args, **kwargs)
        return self if itself and found is self._faltung_model else found

    return call


for _names, _itself in ((_OF_MODEL, False), (_OF_ITSELF, True)):
    for _name in _names:
        if hasattr(nn.Module, _name):
            setattr(Compiled, _name, _delegated(_name, _itself))


def engine_of(
    model: Callable[..., Any],
    *,
    fallback: bool = False,
    precision: str = "fast",
    random: str = "faltung",
    prices: bool = True,
    where: str = "faltung.torch.compile",
) -> Engine:
    """What finds and makes programs for a module or a function."""
    options: dict[str, Any] = {"precision": precision, "random": random}
    if isinstance(model, nn.Module):
        # The forward of the class, as ``Module.__call__`` would run it: hooks are looked at.
        return Engine(
            model, {"": model}, where=where, fallback=fallback, prices=prices, options=options
        )
    return Engine(
        model, read_by(model), where=where, fallback=fallback, prices=prices, options=options
    )


def read_by(function: Callable[..., Any]) -> dict[str, nn.Module]:
    """Modules that a function reads: its own, those of its closure, and globals that it names."""
    found: dict[str, nn.Module] = {}
    while isinstance(function, functools.partial):
        for i, x in enumerate((*function.args, *function.keywords.values())):
            if isinstance(x, nn.Module):
                found[f"argument{i}"] = x
        function = function.func
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module):
        found["self"] = owner
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if inspect.isfunction(plain):
        seen = inspect.getclosurevars(plain)
        for name, x in {**seen.globals, **seen.nonlocals}.items():
            if isinstance(x, nn.Module):
                found[name] = x
    return found


def compile(
    model: Callable[..., Any],
    example: Any = None,
    *,
    fallback: bool = False,
    precision: Literal["fast", "strict"] = "fast",
    random: Literal["faltung", "torch"] = "faltung",
    error: bool = False,
) -> Any:
    """A model of PyTorch as programs of ours, for inference and training on the CPU.

    Parameters
    ----------
    model : nn.Module or callable
        A function may read modules of its closure and of its file.
    example : tensor, tuple, dict, optional
        Arguments, for which it is compiled at once: a tuple holds positional ones, a dictionary
        those with names. Without, it is compiled at the first call. Calls with arguments of other
        sizes, dtypes or modes are compiled when they come.
    fallback : bool
        Whether PyTorch runs what there is no program for. Otherwise that is an error, which names
        all of it.
    precision : {"fast", "strict"}
        As for ``faltung.conv2d``: "strict" leaves out methods that round more.
    random : {"faltung", "torch"}
        Whose numbers dropout and the like use. Ours follow from a key that each call draws from
        PyTorch's generator, so ``torch.manual_seed`` repeats them, and are never stored. "torch":
        those that the model itself would draw, which costs their memory and time.
    error : bool
        Print the errors of the results of ``example`` against those in float64, ours and eager's.

    Returns
    -------
    callable
        For a module one with the same parameters, ``state_dict``, attributes and methods.

    Raises
    ------
    UnsupportedError
        There is no program for part of the model, and ``fallback`` is false.

    Notes
    -----
    Parameters are read where they lie at each call, also those that were replaced. Source of the
    graphs: ``torch.fx.experimental.proxy_tensor.make_fx``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    >>> fast = faltung.torch.compile(model)
    >>> fast(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 8, 6, 6])
    """
    if not callable(model):
        raise FaltungTypeError(
            f"model={type(model).__name__}: must be an nn.Module or a function of tensors"
        )
    if precision not in ("fast", "strict"):
        raise FaltungError(f"precision={precision!r}: must be 'fast' or 'strict'")
    if random not in ("faltung", "torch"):
        raise FaltungError(f"random={random!r}: must be 'faltung' or 'torch'")
    if error and example is None:
        raise FaltungError("error=True: needs an example, whose results are compared")
    while isinstance(model, Compiled):
        model = model._faltung_model
    options: dict[str, Any] = {"fallback": fallback, "precision": precision, "random": random}
    if isinstance(model, nn.Module):
        made: Any = Compiled(model, options)
        engine: Engine = made._faltung_engine
    else:
        engine = engine_of(model, **options)
        made = _function(model, engine)
    if example is not None:
        args, kwargs = arguments(example)
        entry, _, _ = engine.found(args, kwargs)
        if entry.error is not None:
            raise entry.error
        if entry.plan is not None and not torch.is_grad_enabled():
            made(*args, **kwargs)  # in evaluation a run changes nothing, and makes the programs
        if error:
            print(errors(model, made, args, kwargs))
    return made


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call that an example stands for."""
    if isinstance(example, dict):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def _function(function: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return engine(args, kwargs)

    functools.update_wrapper(call, function, updated=())
    call._faltung_engine = engine  # type: ignore[attr-defined]
    return call
