"""The order of names: by what they say, whatever order a file has them in."""

import random

import pytest

from faltung.formats.torch_names import is_timm, ordered

LEAVES = ("weight", "bias", "running_mean", "running_var")
# Names of modules in the order of their networks; tests/nets tries whole networks.
MODULES = {
    "resnet": (
        *("conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2"),
        *("layer2.0.downsample.0", "layer2.0.downsample.1", "layer2.1.conv1", "layer2.10.conv1"),
        "fc",
    ),
    "densenet": (
        *("features.conv0", "features.norm0", "features.denseblock1.denselayer2.norm1"),
        *("features.denseblock1.denselayer2.conv1", "features.denseblock1.denselayer10.norm1"),
        *("features.transition1.norm", "features.transition1.conv"),
        *("features.denseblock2.denselayer1.norm1", "features.norm5", "classifier"),
    ),
    "googlenet": (
        *("conv1.conv", "conv1.bn", "conv2.conv", "inception3a.branch1.conv"),
        *("inception3a.branch2.0.conv", "inception3b.branch1.bn", "inception4a.branch4.1.conv"),
        *("aux1.conv.conv", "aux1.fc1", "aux1.fc2", "inception4b.branch1.conv"),
        *("inception4d.branch1.conv", "aux2.fc1", "inception4e.branch1.conv", "fc"),
    ),
    "timm inverted": (
        *("conv_stem", "bn1", "blocks.0.0.conv_dw", "blocks.0.0.bn1", "blocks.0.0.se.conv_reduce"),
        *("blocks.0.0.se.conv_expand", "blocks.0.0.conv_pw", "blocks.0.0.bn2"),
        *("blocks.1.0.conv_pw", "blocks.1.0.bn1", "blocks.1.0.conv_dw", "blocks.1.0.bn2"),
        *("blocks.1.0.se.conv_reduce", "blocks.1.0.conv_pwl", "blocks.1.0.bn3", "conv_head"),
        *("bn2", "classifier"),
    ),
    "timm convnext": (
        *("stem.0", "stem.1", "stages.0.blocks.0.conv_dw", "stages.0.blocks.0.norm"),
        *("stages.0.blocks.0.mlp.fc1", "stages.0.blocks.0.mlp.fc2", "stages.1.downsample.0"),
        *("stages.1.blocks.0.conv_dw", "head.norm", "head.fc"),
    ),
    "timm vit": (
        *("patch_embed.proj", "blocks.0.norm1", "blocks.0.attn.qkv", "blocks.0.attn.proj"),
        *("blocks.0.norm2", "blocks.0.mlp.fc1", "blocks.11.norm1", "norm", "head"),
    ),
}


@pytest.mark.parametrize("network", MODULES)
def test_any_order_becomes_that_of_the_network(network: str) -> None:
    names = [f"{module}.{leaf}" for module in MODULES[network] for leaf in LEAVES]
    for seed in range(3):
        mixed = random.Random(seed).sample(names, len(names))
        counts = [f"{module}.num_batches_tracked" for module in MODULES[network]]
        assert ordered([*counts, *mixed]) == names
    assert is_timm(names) == network.startswith("timm")


def test_parameters_of_their_own() -> None:
    names = [
        *("patch_embed.proj.bias", "cls_token", "pos_embed", "blocks.0.mlp.fc2.bias"),
        *("norm.weight", "head.bias"),
    ]
    assert ordered(sorted(names)) == names
    block = ["features.1.0.block.5.bias", "features.1.0.layer_scale", "features.2.0.weight"]
    assert ordered(block[::-1]) == block


@pytest.mark.parametrize("name", ["layer1.0.conv1.scale", "x.weight", "layer1..weight", "", "conv"])
def test_names_of_other_networks_are_refused(name: str) -> None:
    if name == "conv":  # a module is in order wherever it stands
        assert ordered([name]) == [name]
        return
    with pytest.raises(ValueError, match=r"is no parameter of a network of torchvision or timm"):
        ordered(["conv1.weight", name])
