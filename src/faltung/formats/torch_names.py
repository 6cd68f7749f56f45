"""The parameters of torchvision and timm in the order in which their networks compute them.

The networks of ``faltung.nets`` have the same parameters as theirs, one for one, so order is all
that is needed to carry weights over. But files do not keep it: safetensors sorts by size and name.
The names tell it, once one knows which of two words comes first: ``ORDER`` says so for every word
that is in use, and numbers do the rest. Names with other words are refused, since they belong to
another network.
"""

import re
from collections.abc import Iterable
from functools import partial

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

# What is the same for all our purposes, and what stands elsewhere than its name says.
SPELLED: tuple[tuple[str, str], ...] = (
    (r"^(backbone|features)\.(?=conv\d|bn\d|norm\d|layer|dense|transition)", ""),
    # Auxiliary classifiers, after what they read.
    (r"^aux_classifier\.", "layer3~."),
    (r"^aux1\.", "inception4a~."),
    (r"^aux2\.", "inception4d~."),
    # DenseNet: what begins and what ends it, and normalisation before a convolution.
    (r"^norm0\.", "bn0."),
    (r"^norm5\.", "norm."),
    (r"^(transition\d+)\.(norm|conv)\.", r"\1.\g<2>1."),
    # The last convolutions, which are numbered as if they came first.
    (r"^(conv5|conv_head)\.", "final_conv.0."),
    (r"^bn2\.", "final_conv.1."),
    (r"^conv_proj\.", "stem."),
    (r"\.(attn|self_attention)\.", ".conv1."),
    (r"\.conv(\d)_(1x1|kxk)\.", r".conv\1."),
)
# Words by the order of what they name, beside each other in one module. "#": with a number, by
# which those of a row are ordered first.
ORDER: tuple[tuple[str, ...], ...] = (
    ("conv_stem", "stem", "patch_embed"),
    ("class_token", "cls_token"),
    ("pos_embed", "pos_embedding"),
    ("conv_dw", "conv_kxk"),
    ("conv_1x1",),
    ("norm#", "ln#", "conv#", "conv", "bn#", "bn", "se#"),
    ("downsample",),
    ("transformer",),
    (
        *("#", "features", "encoder", "encoder_layer#", "layers", "layer#", "layer#~", "blocks"),
        *("block", "stages", "stage#", "branch#", "convs", "denseblock#", "denselayer#"),
        *("transition#", "inception#", "inception#~"),
    ),
    ("norm", "ln"),
    ("conv_proj",),
    ("conv_fusion", "final_conv"),
    ("mlp",),
    ("layer_scale", "gamma"),
    ("project",),
    ("pre_logits",),
    ("fc#",),
    ("qkv", "in_proj_weight", "in_proj_bias"),
    ("proj", "out_proj"),
    ("conv_reduce",),
    ("conv_expand",),
    ("fc", "classifier", "heads", "head"),
    ("weight",),
    ("bias",),
    ("running_mean",),
    ("running_var",),
)
IGNORED = "num_batches_tracked"
_RANKS = {word: (rank, i) for rank, row in enumerate(ORDER) for i, word in enumerate(row)}
_PARTS = re.compile(r"([a-z_]*?)_?([0-9]*)([a-z]?)(~?)")
# Words of timm's networks that are not torchvision's.
_TIMM = re.compile(r"(conv_stem|blocks|stages|patch_embed|cls_token|pos_embed|pre_logits)\b")

_Place = tuple[int, int, str, int]


def ordered(names: Iterable[str]) -> list[str]:
    """The names in the order of the network, without counts of batches. FaltungError: a word that
    no network of torchvision or timm that we have is made of.
    """
    kept = [name for name in names if not name.endswith(IGNORED)]
    spelled = partial(_spelled, wide=_expanded(kept))
    return sorted(kept, key=lambda name: _key(spelled(name), name))


def is_timm(names: Iterable[str]) -> bool:
    """Whether names are timm's, where the two differ."""
    return any(_TIMM.match(name) for name in names)


def _expanded(names: Iterable[str]) -> set[str]:
    """The modules of timm that expand, convolve each channel, and project: three convolutions."""
    found = (re.match(r"(.+)\.conv_pwl\.weight$", name) for name in names)
    return {match[1] for match in found if match}


def _spelled(name: str, wide: set[str]) -> str:
    """A name as ``ORDER`` has its words."""
    for pattern, other in SPELLED:
        name = re.sub(pattern, other, name)
    match = re.match(r"(blocks\.\d+\.\d+)\.(conv_dw|conv_pw|conv_pwl|se)\.", name)
    if match is None:
        return name
    three = match[1] in wide
    numbers = {"conv_pw": 1 if three else 2, "conv_dw": 2 if three else 1, "conv_pwl": 3}
    word = f"conv{numbers[match[2]]}" if match[2] in numbers else f"se{2 if three else 1}"
    return f"{match[1]}.{word}.{name[match.end() :]}"


def _key(name: str, given: str) -> list[_Place]:
    return [_place(part, given) for part in name.split(".")]


def _place(part: str, given: str) -> _Place:
    """Where a part of a name stands among those beside it."""
    if part in _RANKS:
        rank, kind = _RANKS[part]
        return rank, 0, "", kind
    match = _PARTS.fullmatch(part)
    if match is not None and match[2] and len(match[2]) < 6:
        found = _RANKS.get(f"{match[1]}#{match[4]}")
        if found is not None:
            return found[0], int(match[2]), match[3], found[1]
    raise FaltungError(
        f"{show(given)}: is no parameter of a network of torchvision or timm that faltung.nets has"
    )
