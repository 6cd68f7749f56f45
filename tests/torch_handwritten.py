"""Networks in PyTorch for the doors, of kinds that torchvision and timm do not have.

Text, sound, generators, diffusion, detection; small. Those of ``onnx_handwritten`` are among them.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from onnx_handwritten import HANDWRITTEN as EXPORTED
from torch import Tensor, nn
from torch.nn import functional

# Of each input the shape without the batch; whole numbers below a bound: ("tokens", bound, shape).
Inputs = tuple[Any, ...]


class Block(nn.Module):
    """Causal self-attention and a perceptron, each behind a normalisation, as in GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.all, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        parts = self.all(self.first(x)).split(c, 2)
        q, k, v = (y.view(n, t, self.heads, c // self.heads).transpose(1, 2) for y in parts)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(found.transpose(1, 2).contiguous().view(n, t, c))
        return x + self.mlp(self.second(x))


class Gpt(nn.Module):
    """Tokens, positions, blocks, and logits by the weights of the embedding."""

    def __init__(self, tokens: int = 40, width: int = 24) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(32, width)
        self.blocks = nn.ModuleList(Block(width, 3) for _ in range(2))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        found = self.tokens(x) + self.places(places)[None]
        for block in self.blocks:
            found = block(found)
        return self.head(self.last(found))


def rotated(x: Tensor) -> Tensor:
    """Positions turned into angles, as in RoFormer."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 100.0 ** (-torch.arange(half) / half)[None]
    left, right = x[..., :half], x[..., half:]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class Llama(nn.Module):
    """Root mean square norms, turned positions, fewer keys than queries, a gated perceptron."""

    def __init__(self, tokens: int = 30, width: int = 24) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        self.q, self.kv = nn.Linear(width, width, bias=False), nn.Linear(width, 24, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, 40, bias=False), nn.Linear(width, 40, bias=False)
        self.down, self.head = nn.Linear(40, width, bias=False), nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        n, t, c = x.shape
        y = self.norms[0](x)
        q = self.q(y).view(n, t, 4, 6).transpose(1, 2)
        k, v = self.kv(y).view(n, t, 2, 2, 6).permute(2, 0, 3, 1, 4)
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        mask = torch.full((t, t), float("-inf")).triu(1).to(x.dtype)
        weights = (rotated(q) @ rotated(k).transpose(2, 3) / math.sqrt(6) + mask).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, t, c))
        y = self.norms[1](x)
        x = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return self.head(self.norms[2](x))


class Encoder(nn.Module):
    """PyTorch's own encoder over the positions of a picture of few channels."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=first
        )
        self.front = nn.Conv2d(3, 16, 4, 4)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.start = nn.Parameter(torch.randn(1, 1, 16) * 0.1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.start.expand(len(x), -1, -1), x], 1)
        return self.head(self.layers(x)[:, 0])


class Translator(nn.Module):
    """Both halves of PyTorch's transformer, with a causal mask, and the batch second."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Embedding(20, 16), nn.Embedding(25, 16)
        self.both = nn.Transformer(16, 2, 2, 2, 32, 0.0)
        self.head = nn.Linear(16, 25)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mask = self.both.generate_square_subsequent_mask(y.shape[1])
        left, right = self.left(x).transpose(0, 1), self.right(y).transpose(0, 1)
        return self.head(self.both(left, right, tgt_mask=mask.to(left.dtype))).transpose(0, 1)


class Residual(nn.Module):
    """Group norms and SiLU, shifted and scaled by the time of a diffusion."""

    def __init__(self, inner: int, outer: int, time: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(4, inner), nn.SiLU(), nn.Conv2d(inner, outer, 3, padding=1)
        )
        self.time = nn.Linear(time, 2 * outer)
        self.norm = nn.GroupNorm(4, outer)
        self.last = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.time(functional.silu(time))[:, :, None, None].chunk(2, 1)
        found = self.norm(self.first(x)) * (1 + scale) + shift
        return self.last(functional.silu(found)) + self.skip(x)


class Looking(nn.Module):
    """Attention between all positions of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, width)
        self.all, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.all(self.norm(x)).reshape(n, 3, c, h * w).unbind(1)
        weights = torch.einsum("nci,ncj->nij", q, k).mul(c**-0.5).softmax(-1)
        return x + self.out(torch.einsum("nij,ncj->nci", weights, v).reshape(n, c, h, w))


class Diffusion(nn.Module):
    """The noise in a picture, given its time: U-Net with attention at the bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.front = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.ModuleList([Residual(8, 8, 32), Residual(8, 16, 32)])
        self.smaller = nn.Conv2d(8, 8, 3, 2, 1)
        self.middle = nn.ModuleList([Residual(16, 16, 32), Looking(16), Residual(16, 16, 32)])
        self.up = nn.ModuleList([Residual(32, 16, 32), Residual(24, 8, 32)])
        self.larger = nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Sequential(nn.GroupNorm(4, 8), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        rates = torch.exp(-math.log(1e3) * torch.arange(8) / 8).to(x.dtype)
        angles = time * rates
        time = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        top = self.down[0](self.front(x), time)
        low = self.down[1](self.smaller(top), time)
        found = self.middle[2](self.middle[1](self.middle[0](low, time)), time)
        found = self.up[0](torch.cat([found, low], 1), time)
        found = self.larger(functional.interpolate(found, scale_factor=2, mode="nearest"))
        return self.last(self.up[1](torch.cat([found, top], 1), time))


class Variational(nn.Module):
    """An encoder to means and widths, numbers from outside, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(16 * 16, 12),
        )
        self.decoder = nn.Sequential(
            nn.Linear(6, 16 * 16),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, width = self.encoder(x).chunk(2, 1)
        made = self.decoder(mean + noise * (0.5 * width).exp())
        return made, -0.5 * (1 + width - mean**2 - width.exp()).sum(1)


class Critic(nn.Module):
    """A discriminator whose weights are divided by their largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            norm(nn.Conv2d(3, 8, 4, 2, 1)),
            nn.LeakyReLU(0.2, True),
            norm(nn.Conv2d(8, 16, 4, 2, 1)),
            nn.InstanceNorm2d(16, affine=True),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(16, 1, 4, 1, 0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(1)


def generator() -> nn.Module:
    layers: list[nn.Module] = []
    for inner, outer, step in ((10, 16, 1), (16, 8, 2), (8, 8, 2)):
        pad = int(step == 2)
        layers += [nn.ConvTranspose2d(inner, outer, 4, step, pad, bias=False)]
        layers += [nn.BatchNorm2d(outer), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())


class Reader(nn.Module):
    """Letters of a line of text: convolutions, then an LSTM along the width, as in CRNN."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(True),
            nn.MaxPool2d((2, 1), (2, 1)),
        )
        self.cells = nn.LSTM(12 * 4, 10, 2, bidirectional=True)
        self.head = nn.Linear(20, 9)

    def forward(self, x: Tensor) -> Tensor:
        found = self.maps(x).flatten(1, 2).permute(2, 0, 1)
        return self.head(self.cells(found)[0]).log_softmax(2).transpose(0, 1)


class Speller(nn.Module):
    """One sequence to another: a GRU whose state another one begins with, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Embedding(15, 8, padding_idx=0), nn.Embedding(12, 8)
        self.encoder, self.cell = nn.GRU(8, 10, batch_first=True), nn.GRUCell(8, 10)
        self.look, self.head = nn.Linear(10, 10, bias=False), nn.Linear(20, 12)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        steps, state = self.encoder(self.left(x))
        state, found = state[0], []
        for word in self.right(y).unbind(1):
            state = self.cell(word, state)
            weights = torch.bmm(self.look(steps), state[:, :, None]).softmax(1)
            found.append(self.head(torch.cat([state, (weights * steps).sum(1)], 1)))
        return torch.stack(found, 1)


class Sentences(nn.Module):
    """Convolutions of several widths over words, and the largest of each, as Kim did."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 12)
        self.layers = nn.ModuleList(nn.Conv1d(12, 6, k) for k in (3, 4, 5))
        self.head = nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x).transpose(1, 2)
        return self.head(torch.cat([functional.relu(f(x)).max(2).values for f in self.layers], 1))


class Detector(nn.Module):
    """Three scales, joined from above, with boxes and classes for each position of each."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 16, 24)
        stages = [
            nn.Sequential(
                nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.Hardswish(True)
            )
            for a, b in zip((3, *widths), widths, strict=False)
        ]
        self.stages = nn.ModuleList(stages)
        self.sides = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in widths)
        self.boxes, self.classes = nn.Conv2d(8, 2 * 4, 3, padding=1), nn.Conv2d(8, 2 * 5, 1)
        self.scales = nn.Parameter(torch.tensor([1.0, 1.5, 2.0]))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        found: list[Tensor] = []
        for side, each in zip(reversed(self.sides), reversed(maps), strict=True):
            y = side(each)
            if found:
                y = y + functional.interpolate(found[-1], size=y.shape[-2:])
            found.append(y)
        boxes, classes = [], []
        for scale, y in zip(self.scales, found, strict=True):
            box = torch.exp(self.boxes(y).clamp(-4, 4) * scale)
            boxes.append(box.permute(0, 2, 3, 1).reshape(len(y), -1, 4))
            classes.append(self.classes(y).permute(0, 2, 3, 1).reshape(len(y), -1, 5))
        return {"boxes": torch.cat(boxes, 1), "classes": torch.cat(classes, 1).sigmoid()}


class Experts(nn.Module):
    """All of several perceptrons, weighed by a gate; in one product over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(10, 4)
        self.first = nn.Parameter(torch.randn(4, 10, 12) * 0.3)
        self.second = nn.Parameter(torch.randn(4, 12, 6) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(torch.einsum("nc,ecd->ned", x, self.first))
        each = torch.einsum("ned,edo->neo", inner, self.second)
        return (each * self.gate(x).softmax(-1)[:, :, None]).sum(1)


class Sound(nn.Module):
    """Scaled samples, strided convolutions with group norm, and a depthwise block, as Conformer."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(1, 8, 10, 5, bias=False),
            nn.GroupNorm(8, 8),
            nn.GELU(),
            nn.Conv1d(8, 12, 3, 2),
            nn.GELU(),
        )
        self.norm, self.wide = nn.LayerNorm(12), nn.Conv1d(12, 24, 1)
        self.depth = nn.Conv1d(12, 12, 5, padding=2, groups=12)
        self.batch, self.out = nn.BatchNorm1d(12), nn.Conv1d(12, 12, 1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt()
        x = self.front(x)
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y = functional.silu(self.batch(self.depth(functional.glu(self.wide(y), 1))))
        return self.head((x + self.out(y)).mean(2))


class Volume(nn.Module):
    """3-D down by a stride and up by transposed convolutions, with instance norms."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, 6, 3, 2, 1),
            nn.InstanceNorm3d(6, affine=True),
            nn.PReLU(6),
            nn.Conv3d(6, 8, 3, padding=1),
            nn.BatchNorm3d(8),
            nn.Softplus(),
            nn.ConvTranspose3d(8, 4, 2, 2),
            nn.AvgPool3d(2, 1),
        )
        self.last = nn.Conv3d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.pad(self.layers(x), (0, 1, 0, 1, 0, 1), "replicate"))


class Twins(nn.Module):
    """One network for two pictures, and the angle between what it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.Mish(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.layers(x), functional.normalize(self.layers(y), dim=1)
        return functional.cosine_similarity(x, y), functional.pairwise_distance(x, y)


class Atrous(nn.Module):
    """Dilated convolutions beside each other and a pooled picture, as in DeepLab."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(3, 8, 3, 2, 1)
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 6, 3, padding=d, dilation=d), nn.BatchNorm2d(6), nn.ReLU())
            for d in (1, 2, 4)
        )
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 6, 1), nn.ReLU())
        self.last = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.front(x))
        size = {"size": y.shape[-2:], "mode": "bilinear", "align_corners": False}
        found = [side(y) for side in self.sides]
        found.append(functional.interpolate(self.whole(y), **size))
        found = self.last(torch.cat(found, 1))
        return functional.interpolate(found, x.shape[-2:], mode="bilinear", align_corners=True)


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(7, 20),
        nn.BatchNorm1d(20),
        nn.SELU(),
        nn.Linear(20, 20),
        nn.Tanh(),
        nn.Linear(20, 3),
    )


PICTURE = (3, 16, 16)
OWN: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "perceptron": (perceptron, ((7,),)),
    "gpt": (Gpt, (("tokens", 40, (12,)),)),
    "llama": (Llama, (("tokens", 30, (10,)),)),
    "encoder": (lambda: Encoder(False), (PICTURE,)),
    "encoder_first": (lambda: Encoder(True), (PICTURE,)),
    "translator": (Translator, (("tokens", 20, (7,)), ("tokens", 25, (5,)))),
    "diffusion": (Diffusion, (PICTURE, (1,))),
    "variational": (Variational, ((1, 16, 16), (6,))),
    "generator": (generator, ((10, 1, 1),)),
    "critic": (Critic, (PICTURE,)),
    "reader": (Reader, ((1, 16, 24),)),
    "speller": (Speller, (("tokens", 15, (8,)), ("tokens", 12, (4,)))),
    "sentences": (Sentences, (("tokens", 50, (20,)),)),
    "detector": (Detector, ((3, 32, 32),)),
    "experts": (Experts, ((10,),)),
    "sound": (Sound, ((1, 400),)),
    "volume": (Volume, ((1, 8, 8, 12),)),
    "twins": (Twins, (PICTURE, PICTURE)),
    "atrous": (Atrous, ((3, 24, 20),)),
}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {**EXPORTED, **OWN}
