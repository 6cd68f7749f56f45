"""Reductions, extremes, running sums, sorting and softmax, from ATen: PyTorch's own samples."""

import pytest

torch = pytest.importorskip("torch")

from torch_opinfo import check_samples  # noqa: E402

OPS = """
    sum mean prod logsumexp nansum nanmean count_nonzero all any amax amin aminmax max min argmax
    argmin var std var_mean std_mean norm linalg.vector_norm linalg.norm dist cumsum cumprod topk
    sort argsort msort kthvalue softmax log_softmax nn.functional.softmin
    nn.functional.cosine_similarity nn.functional.pairwise_distance nn.functional.normalize
""".split()
GAPS = {
    "norm.nuc": "no such operator",  # singular values
    "linalg.norm": "norm of matrices",
    "softmax.with_dtype": "float64 within",
    "log_softmax.with_dtype": "float64 within",
    "nn.functional.softmin.with_dtype": "float64 within",
}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    gaps = {key: why for key, why in GAPS.items() if key == op or key.startswith(f"{op}.")}
    check_samples([op], gaps, most=4)
