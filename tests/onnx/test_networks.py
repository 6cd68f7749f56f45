"""Networks of PyTorch as ONNX files: as close to float64 as PyTorch, and alone as in a batch.

A few small ones; ``tests/onnx_networks.py`` has some hundred, of torchvision and timm too.
"""

import pytest

# Each of another kind: recurrence, sound, video, segmentation, norms, attention, detection.
NAMES = [
    "conv1d_gru",
    "spectrogram",
    "video",
    "unet_resized",
    "unet3d_resized",
    "attention_pooling",
    "super_resolution",
    "two_inputs",
    "shuffled",
    "separable",
]


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch, which it is compared with, is not there")
    pytest.importorskip("onnx", reason="onnx, which exporting needs, is not there")
    from onnx_against_torch import compared, settled
    from onnx_handwritten import handwritten

    torch.manual_seed(0)
    module, shapes = handwritten(name)
    found = compared(settled(module), shapes, strict=False)
    assert found.ratio <= 6
    assert found.alone
    assert found.parts == 1 and not found.host
