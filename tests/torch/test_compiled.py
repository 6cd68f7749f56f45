"""``faltung.torch.compile``: the model that it gives, and calls of many kinds, against eager."""

import copy
import pickle
import sys
import warnings
from time import perf_counter
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from limits import limit
from torch import nn
from torch.nn.utils import parametrizations
from torch_models import Odd, assert_near, conv, gradients, pictures

import faltung.torch
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.torch import versions


def engine(made: Any) -> Any:
    return made._faltung_engine


def check(model: nn.Module, *inputs: Any, **options: Any) -> Any:
    """Results without and with gradients, and the gradients."""
    made = faltung.torch.compile(model, **options)
    with torch.no_grad():
        assert_near(made(*inputs), model(*inputs))
    assert_near(made(*inputs), model(*inputs))
    ours, theirs = gradients(made, model, *inputs), gradients(model, model, *inputs)
    assert_near(ours, theirs, 3e-5)
    assert len(theirs) > 1 or not list(model.parameters())
    return made


def test_inference_and_training() -> None:
    made = check(nn.Sequential(conv(), nn.ReLU(), conv(4, 2)).eval(), pictures())
    assert engine(made).captures == 3  # without gradients, with them, and that of the input


def test_sizes_need_two_graphs() -> None:
    model = nn.Sequential(conv(), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(2)).eval()
    made = faltung.torch.compile(model)
    with torch.no_grad():
        for batch, size in [(8, 9), (3, 9), (5, 9), (1, 9), (16, 9), (2, 12), (2, 17), (8, 9)]:
            x = pictures(batch, size)
            assert_near(made(x), model(x))
    assert engine(made).captures == 2


def test_a_sample_does_not_depend_on_its_batch() -> None:
    made = faltung.torch.compile(nn.Sequential(conv(), conv(4, 4)).eval())
    x = pictures(4)
    with torch.no_grad():
        assert torch.equal(made(x)[1:2], made(x[1:2]))


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()

    def forward(self, x: Any, other: Any = None, *, scale: float = 1.0, names: Any = ()) -> Any:
        y = self.conv(x["a"]) * scale
        if other is not None:
            y = y + other
        return {"y": y, "rest": [other, scale, len(names)]}


def test_arguments_and_results_of_many_kinds() -> None:
    model, x = Many().eval(), {"a": pictures()}
    made = faltung.torch.compile(model)
    other = pictures(channels=4, seed=1)
    with torch.no_grad():
        for args, kwargs in (
            ((x,), {}),
            ((x, other), {"scale": 2.0}),
            ((x,), {"other": other}),
            ((x, 3), {"names": ("p", "q")}),
            ((x, 4), {}),
        ):
            assert_near(made(*args, **kwargs), model(*args, **kwargs))


def test_the_same_tensor_twice_and_then_two() -> None:
    class Model(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x * 2 + torch.tanh(y)

    made, x, y = faltung.torch.compile(Model()), pictures(), pictures(seed=1)
    assert_near(made(x, x), Model()(x, x))
    assert_near(made(x, y), Model()(x, y))


# Parameters ---------------------------------------------------------------------------------------


def test_parameters_are_read_at_each_call() -> None:
    model, x = nn.Sequential(conv(), conv(4, 4)).eval(), pictures()
    made = faltung.torch.compile(model)
    changes = [
        lambda: model[0].weight.mul_(2),
        lambda: setattr(model[0], "weight", nn.Parameter(model[0].weight * 3)),
        lambda: setattr(model[1].weight, "data", model[1].weight.data + 1),
        lambda: model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()}),
        lambda: model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True),
    ]
    with torch.no_grad():
        for change in [lambda: None, *changes]:
            change()
            assert_near(made(x), model(x))
    assert engine(made).captures == 1


def test_what_a_trace_saw_is_looked_at_again() -> None:
    model, x = nn.Sequential(conv(), nn.Softplus(1.0), conv(4, 4)).eval(), pictures()
    made = faltung.torch.compile(model)
    changes = [
        lambda: setattr(model[0], "stride", (2, 2)),
        lambda: setattr(model[1], "beta", 3.0),
        lambda: model.__setitem__(2, conv(4, 2)),
        lambda: model.append(conv(2, 2)),
        lambda: setattr(model[0], "bias", None),
    ]
    with torch.no_grad():
        for change in [lambda: None, *changes]:
            change()
            assert_near(made(x), model(x))


def test_training_and_evaluation_are_apart() -> None:
    model, x = nn.Sequential(conv(bias=False), nn.BatchNorm2d(4)), pictures(4)
    other = copy.deepcopy(model)
    made = faltung.torch.compile(model)
    for step in range(2):
        for training in (True, False):
            made.train(training), other.train(training)
            assert_near(gradients(made, model, x), gradients(other, other, x), 1e-4)
            assert_near(dict(model.state_dict()), dict(other.state_dict()), 1e-5)
        assert engine(made).captures == 2, step


def test_weights_that_are_shared_and_computed() -> None:
    tied = nn.Sequential(conv(3, 3), conv(3, 3))
    tied[1].weight = tied[0].weight
    check(tied, pictures())
    check(parametrizations.weight_norm(conv()), pictures())
    check(parametrizations.spectral_norm(conv()).eval(), pictures())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(torch.nn.utils.weight_norm(conv()), pictures())


def test_frozen_parameters() -> None:
    model, x = nn.Sequential(conv(), conv(4, 4)), pictures()
    model[0].requires_grad_(False)
    made = check(model, x)
    model[0].requires_grad_(True)
    assert_near(gradients(made, model, x), gradients(model, model, x), 3e-5)


def test_accumulated_gradients() -> None:
    model, x = conv(), pictures()
    made = faltung.torch.compile(model)
    for call in (made, model):
        model.zero_grad()
        for i in range(3):
            call(x * (i + 1)).square().mean().backward()
        if call is made:
            mine = model.weight.grad.clone()
    assert_near(mine, model.weight.grad, 1e-5)


# Memory that is shared ----------------------------------------------------------------------------


def test_results_that_are_views_of_what_was_given() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.p = conv(), nn.Parameter(torch.arange(3.0))

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return x, x[:, 0], y, y[0], self.p, self.p[:2]

    model, x = Model(), pictures()
    made = faltung.torch.compile(model)
    with torch.no_grad():
        same, view, y, part, p, few = made(x)
        assert_near((same, view, y, part, p, few), model(x))
        assert same is x and p is model.p and few.data_ptr() == p.data_ptr()
        view.zero_()
        assert not x[:, 0].any()
        part.fill_(7)
        assert bool((y[0] == 7).all())


def test_writes_into_inputs_views_and_buffers() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = conv(), conv(4, 2)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            y[:, 0] = 1
            y[:, 1:3].mul_(2)
            x.add_(1)
            self.mean.mul_(0.9).add_(y.detach().mean((0, 2, 3)))
            return self.last(y) * self.mean.sum() + x.sum()

    model, a = Model(), pictures()
    other, b = copy.deepcopy(model), a.clone()
    made = faltung.torch.compile(model, fallback=True)
    with torch.no_grad():
        for _ in range(3):
            assert_near(made(a), other(b))
            assert_near((a, model.mean), (b, other.mean))
    with pytest.raises(UnsupportedError, match=r"writes into an input.*writes a buffer"):
        faltung.torch.compile(other)(b)


# What is not taken --------------------------------------------------------------------------------


def test_strict_names_all_gaps_with_their_place() -> None:
    model = nn.Sequential(conv(), Odd(), nn.Sequential(conv(4, 4), Odd())).eval()
    with pytest.raises(UnsupportedError) as error:
        faltung.torch.compile(model, pictures())
    text = str(error.value)
    assert "1 (torch_models.py:" in text and "faltung_tests.odd, 2 times" in text
    assert "fallback=True" in text and "\n" not in text
    check(model, pictures(), fallback=True)


def test_a_model_of_numbers_is_refused_or_eager() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Any) -> Any:
            return self.conv(x) if x.sum() > 0 else x

    model = Model()
    with pytest.raises(UnsupportedError, match=r"test_compiled.py:\d+: what it does depends on"):
        faltung.torch.compile(model)(pictures())
    made = faltung.torch.compile(model, fallback=True)
    for x in (pictures().abs(), -pictures().abs()):
        assert_near(made(x), model(x))


def test_hooks_run_in_eager() -> None:
    model, x, seen = nn.Sequential(conv(), conv(4, 4)), pictures(), []
    made = faltung.torch.compile(model, fallback=True)
    made(x)
    handle = model[1].register_forward_hook(lambda *_: seen.append(1))
    made(x)
    made(x)
    assert len(seen) == 2
    with pytest.raises(UnsupportedError, match="1 has a hook"):
        faltung.torch.compile(model)(x)
    handle.remove()
    before = engine(made).captures
    made(x)
    assert len(seen) == 2 and engine(made).captures == before
    # Hooks of tensors and of the compiled module are PyTorch's own affair.
    model[0].weight.register_hook(lambda grad: seen.append(2))
    made.register_forward_hook(lambda *_: seen.append(3))
    made(x).sum().backward()
    assert seen == [1, 1, 3, 2]


def test_a_model_that_counts_runs_in_eager() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    model = Model()
    made = faltung.torch.compile(model, fallback=True)
    assert [float(made(torch.ones(1))) for _ in range(4)] == [1, 2, 3, 4]


def test_a_model_that_keeps_a_table_is_compiled_once_it_is_there() -> None:
    class Model(nn.Module):
        table: Any = None

        def forward(self, x: Any) -> Any:
            if self.table is None:
                self.table = torch.arange(9.0)
            return x * self.table

    model, x = Model(), pictures()
    made = faltung.torch.compile(model)
    for _ in range(3):
        assert_near(made(x), Model()(x))
    assert engine(made).found((x,), {})[0].plan is not None


def test_lazy_modules() -> None:
    model = nn.Sequential(nn.LazyConv2d(32, 3), nn.ReLU())
    made, x = faltung.torch.compile(model, fallback=True), pictures(8, 32)
    for _ in range(3):
        assert_near(made(x), model(x))
    assert engine(made).found((x,), {})[0].plan is not None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.randn(2, 3, dtype=torch.complex64), "complex argument"),
        (lambda: torch.randn(3, 3).relu().to_sparse(), "sparse argument"),
        (lambda: torch.randn(3, 3, device="meta"), "on meta"),
        (lambda: torch.imag(torch.randn(3, dtype=torch.complex64).conj()), "negative of its"),
        (lambda: object(), "of type object"),
    ],
)
def test_arguments_that_go_to_pytorch(make: Any, words: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return [x * 2 if isinstance(x, torch.Tensor) else 1]

    made = faltung.torch.compile(Model(), fallback=True)
    x = make()
    entry, _, _ = engine(made).found((x,), {})
    assert entry.plan is None and words in entry.reason
    found, expected = made(x)[0], Model()(x)[0]
    if isinstance(x, torch.Tensor) and x.device.type == "cpu":
        assert torch.equal(
            found.to_dense() if x.is_sparse else found,
            expected.to_dense() if x.is_sparse else expected,
        )
    with pytest.raises(UnsupportedError, match=words):
        faltung.torch.compile(Model())(x)


def test_wrong_shapes_raise_what_pytorch_raises() -> None:
    made = faltung.torch.compile(conv())
    with pytest.raises(RuntimeError, match="expected input"):
        made(pictures(channels=5))


def test_an_untested_pytorch_warns_once_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "TESTED", ((1, 0), (1, 1)))
    monkeypatch.setattr(versions, "_told", set())
    model, x = nn.Sequential(conv(), Odd()), pictures()
    made = faltung.torch.compile(model)
    with pytest.warns(UserWarning, match=r"tested with 1\.0 to 1\.1, so everything runs in eager"):
        assert_near(made(x), model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(pictures(3))


# The module ---------------------------------------------------------------------------------------


def test_it_is_used_as_the_model_is() -> None:
    model, x = nn.Sequential(conv(), conv(4, 4)), pictures()
    made = faltung.torch.compile(model)
    assert list(made.state_dict()) == list(model.state_dict())
    assert [id(p) for p in made.parameters()] == [id(p) for p in model.parameters()]
    assert made.eval() is made and not model.training and not made.training
    assert made[1] is model[1] and len(made) == 2
    made.note = 3
    assert model.note == 3 and made.note == 3
    del made.note
    assert not hasattr(model, "note")
    outer = nn.Sequential(made)
    assert list(outer.state_dict()) == ["0." + name for name in model.state_dict()]
    outer.load_state_dict(outer.state_dict())
    outer.double()
    with torch.no_grad():
        assert_near(outer(x.double()), model(x.double()), 1e-12)
    outer.float().train()
    assert model.training
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert_near(other(x), model(x))
        assert next(other.parameters()) is not next(model.parameters())


def test_functions() -> None:
    model, x = conv(), pictures()

    def function(x: Any, twice: bool = False) -> Any:
        y = model(x)
        return y + y if twice else y

    made = faltung.torch.compile(function)
    assert_near(made(x, twice=True), function(x, twice=True))
    with torch.no_grad():
        model.weight.mul_(2)
        assert_near(made(x), function(x))
        model.weight = nn.Parameter(model.weight + 1)
        assert_near(made(x), function(x))


def test_inside_transforms_export_and_torch_compile() -> None:
    model, x = nn.Sequential(conv(), conv(4, 4)).eval(), pictures()
    made = faltung.torch.compile(model)
    doubled = {name: p * 2 for name, p in model.named_parameters()}
    functional = torch.func.functional_call
    assert_near(functional(made, doubled, (x,)), functional(model, doubled, (x,)))
    assert_near(torch.vmap(made)(x[None]), model(x)[None])
    slopes = torch.func.grad(lambda p: functional(made, p, (x,)).sum())(doubled)
    assert_near(slopes, torch.func.grad(lambda p: functional(model, p, (x,)).sum())(doubled), 3e-5)
    assert_near(torch.export.export(made, (x,)).module()(x), model(x))
    assert_near(torch.compile(made, backend="eager")(x), model(x))


def test_a_gradient_is_differentiated_again() -> None:
    model = nn.Sequential(conv(), nn.Tanh(), conv(4, 1))
    made, found = faltung.torch.compile(model), []
    for call in (made, model):
        x = pictures().requires_grad_()
        (slope,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), x)[0])
    assert_near(found[0], found[1], 3e-5)


def test_autocast_and_inference_mode() -> None:
    model, x = nn.Sequential(conv(), nn.ReLU()).eval(), pictures()
    made = faltung.torch.compile(model)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found, expected = made(x), model(x)
        assert found.dtype == expected.dtype == torch.bfloat16
        assert_near(found.float(), expected.float(), 2e-2)
    with torch.inference_mode():
        assert_near(made(x), model(x))
        assert made(x).is_inference()


def test_errors_are_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    faltung.torch.compile(conv().eval(), pictures(), error=True)
    ours, eager = capsys.readouterr().out.strip().splitlines()
    assert ours.startswith("faltung: relative error") and eager.startswith("eager: relative error")
    assert 0 < float(ours.split()[5]) < 1e-5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: faltung.torch.compile(3), "model=int: must be"),
        (lambda: faltung.torch.compile(conv(), precision="x"), "precision='x': must be"),
        (lambda: faltung.torch.compile(conv(), error=True), "error=True: needs an example"),
    ],
)
def test_wrong_options(call: Any, words: str) -> None:
    with pytest.raises(FaltungError, match=words):
        call()


# Time ---------------------------------------------------------------------------------------------


def test_a_call_costs_little_beside_the_work() -> None:
    """10 us on a quiet computer: that is what finding the program takes."""
    made, x = faltung.torch.compile(nn.Sequential(conv(), nn.ReLU()).eval()), pictures(1)
    with torch.no_grad():
        made(x)
        found = engine(made).found
        best = min(_seconds(lambda: found((x,), {})) for _ in range(200))
    assert best < limit(40e-6)


def _seconds(run: Any) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def test_import_is_quick() -> None:
    """0.1 s beyond PyTorch; what a compiler needs is loaded when a model is compiled."""
    import subprocess

    code = (
        "import torch, time; t = time.perf_counter(); import faltung.torch; "
        "print(time.perf_counter() - t)"
    )
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert min(float(each.stdout) for each in done) < limit(0.2)


def test_threads_that_call_while_another_traces() -> None:
    from threading import Thread

    model, x = nn.Sequential(conv(), nn.ReLU(), conv(4, 4)).eval(), pictures()
    expected, failed = model(x).detach(), []
    made = faltung.torch.compile(model)

    def call(size: int) -> None:
        try:
            with torch.no_grad():
                for _ in range(10):
                    assert_near(made(x), expected)
                    made(pictures(size, 9 + size))
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=call, args=(i,)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert engine(made).captures <= 3


def test_their_random_numbers_where_asked() -> None:
    """The zeros of dropout are those that the model itself would draw, forward and backward."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.4), nn.ReLU(), nn.Linear(40, 3)).double()
    fast = faltung.torch.compile(model, random="torch")
    x = torch.randn(5, 6, dtype=torch.float64)
    found = []
    for call in (model, fast):
        torch.manual_seed(3)
        y = [call(x) for _ in range(2)]
        assert not torch.equal(*y)
        model.zero_grad()
        (y[0] * y[1]).sum().backward()
        found.append([*y, *(p.grad.clone() for p in model.parameters()), torch.get_rng_state()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_our_random_numbers_follow_the_seed() -> None:
    model = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.4))
    fast = faltung.torch.compile(model)
    x = torch.ones(5, 6)
    torch.manual_seed(3)
    first, second = fast(x), fast(x)
    torch.manual_seed(3)
    assert torch.equal(fast(x), first) and not torch.equal(first, second)
    with pytest.raises(faltung.FaltungError, match="random='mine'"):
        faltung.torch.compile(model, random="mine")
