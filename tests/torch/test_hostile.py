"""What other back ends get wrong: each case gives what eager gives, or says why not."""

import copy

import pytest

torch = pytest.importorskip("torch")

import faltung.torch  # noqa: E402

nn = torch.nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    ).eval()


def double_weights(model):
    model[0].weight.data.mul_(2)


def write_with_numpy(model):
    model[4].weight.detach().numpy()[:] *= 2


def shift_statistics(model):
    model[1].running_mean.data.add_(1)


@pytest.mark.parametrize("write", [double_weights, write_with_numpy, shift_statistics])
def test_writes_that_no_counter_of_pytorch_sees(write):
    model, x = network(), torch.randn(2, 3, 8, 8)
    fast = faltung.torch.compile(copy.deepcopy(model))
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
            write(model)
            write(fast)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
