"""Views of ATen, against PyTorch: its own samples of each operator, and maps that are looked at."""

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

OPS = """
    view view_as reshape reshape_as flatten unflatten squeeze unsqueeze permute transpose t T mT mH
    H movedim expand expand_as broadcast_to select split split_with_sizes chunk tensor_split unbind
    diagonal unfold as_strided real ravel hsplit vsplit dsplit atleast_1d atleast_2d atleast_3d diag
    diag_embed diagflat trace sum_to_size slice linalg.diagonal unfold_copy unsafe_split view_copy
    permute_copy transpose_copy squeeze_copy unsqueeze_copy expand_copy diagonal_copy unbind_copy
    narrow_copy split_with_sizes_copy t_copy
""".split()
GAPS = {
    "narrow_copy": "a tensor without elements",
    "as_strided.partial_views": "memory beyond a tensor, or one with gaps",
}


@pytest.mark.parametrize("op", [op for op in OPS if op not in ("narrow_copy", "tensor_split")])
def test_samples(op: str) -> None:
    gaps = {key: why for key, why in GAPS.items() if key.startswith(op)}
    check_samples([op], gaps if op == "as_strided" else {}, most=3, known=True)


MAPS: dict[str, Callable[..., object]] = {
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "windows": lambda x: x.view(2, 4, 3, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 4),
    "shuffle": lambda x: x.view(2, 2, 2, 6, 4).transpose(1, 2).reshape(2, 4, 6, 4),
    "turned": lambda x: x.transpose(2, 3).flatten(1),
    "every second": lambda x: x[:, :, ::2, 1:],
    "halves": lambda x: x.chunk(2, 1)[::-1],
    "rows": lambda x: x.unbind(2)[1:3],
    "row": lambda x: x[:, :, -1],
    "new axes": lambda x: x[:, None, ..., None],
    "spread": lambda x: x[:, :1].expand(-1, 5, -1, -1),
    "of a number": lambda x: x[0, 0, 0, 0].view(1, 1).expand(3, 2),
}


@pytest.mark.parametrize("view", MAPS)
def test_maps(view: str) -> None:
    """Channels lie last in memory behind a convolution, whatever PyTorch's own order is."""
    w = torch.randn(4, 3, 3, 3)
    x = torch.randn(2, 3, 6, 4)

    def function(x: torch.Tensor) -> object:
        return MAPS[view](F.conv2d(x, w.to(x.dtype), None, 1, 1))

    check(function, x)
    check_gradients(lambda x, w: MAPS[view](F.conv2d(x, w, None, 1, 1)), [x], [w])


def test_results_that_share_memory() -> None:
    """Views of an input and of each other have memory of their own."""
    x = torch.randn(2, 3, 4)
    for function in (lambda x: (x, x.view(6, 4), x.mT), lambda x: (x * 2, (x * 2).flatten())):
        check(function, x)
        check_gradients(function, [x])


def test_bits_stay_what_they_are() -> None:
    x = torch.randn(2, 3)
    part = part_of(traced(lambda x: x.view(torch.int32) + 1, x), [x])
    assert "another dtype" in part.gaps[0].reason


def test_whole_numbers_keep_their_order() -> None:
    """Numbers from outside are looked at, but not moved."""
    tokens, table = torch.randint(0, 7, (2, 6)), torch.randn(7, 3)

    def moved(t: torch.Tensor) -> torch.Tensor:
        return F.embedding(t.T.reshape(-1), table)

    check(lambda t: F.embedding(t.view(3, 4), table), tokens)
    part = part_of(traced(moved, tokens), [tokens])
    assert part.gaps
