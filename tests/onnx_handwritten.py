"""Networks in PyTorch, written by hand, of kinds that torchvision and timm do not have.

Sound, video, sequences, segmentation, normalisations; small: each is exported and compiled in about
a second.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Recurrent(nn.Module):
    """Convolutions over time, then an LSTM or a GRU in both directions, and the last step."""

    def __init__(self, cell: type[nn.Module], both: bool) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(3, 12, 5, 2, 2),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Conv1d(12, 16, 3, padding=1),
        )
        self.cell = cell(16, 10, num_layers=2, batch_first=True, bidirectional=both)
        self.head = nn.Linear(20 if both else 10, 7)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.cell(self.front(x).transpose(1, 2))
        return self.head(steps[:, -1])


class WaveNet(nn.Module):
    """Causal convolutions that spread, tanh times sigmoid, residual and skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(1, 12, 1)
        self.both = nn.ModuleList(nn.Conv1d(12, 24, 2, dilation=2**i) for i in range(5))
        self.back = nn.ModuleList(nn.Conv1d(12, 20, 1) for _ in range(5))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(8, 8, 1), nn.ReLU(), nn.Conv1d(8, 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.front(x), torch.zeros(1)
        for i, (both, back) in enumerate(zip(self.both, self.back, strict=True)):
            left, right = both(functional.pad(x, (2**i, 0))).chunk(2, 1)
            more, skip = back(torch.tanh(left) * torch.sigmoid(right)).split([12, 8], 1)
            x, total = x + more, total + skip
        return self.head(total)


class TemporalBlocks(nn.Module):
    """Weight-normalised dilated convolutions whose ends are cut off, as in TCN."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.layers = nn.ModuleList(
            norm(nn.Conv1d(8 if i else 2, 8, 3, padding=2 * 2**i, dilation=2**i)) for i in range(3)
        )
        self.skip = nn.Conv1d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = self.skip(x)
        for i, layer in enumerate(self.layers):
            x = functional.leaky_relu(layer(x)[..., : -2 * 2**i], 0.1)
            found = found + x
        return found.amax(-1)


class Vocoder(nn.Module):
    """Transposed convolutions and blocks of several dilations, as in HiFi-GAN, with Snake."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(8, 16, 7, padding=3)
        self.up = nn.ModuleList(nn.ConvTranspose1d(c, c // 2, 8, 4, 2) for c in (16, 8))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(c, c, 3, padding=d, dilation=d) for d in (1, 3)) for c in (8, 4)
        )
        self.slope = nn.Parameter(torch.rand(2, 1, 1))
        self.last = nn.Conv1d(4, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        for up, block, slope in zip(self.up, self.blocks, self.slope, strict=True):
            x = up(functional.leaky_relu(x, 0.1))
            parts = [layer(x + torch.sin(slope * x) ** 2 / (slope + 0.1)) for layer in block]
            x = x + sum(parts) / len(parts)
        return torch.tanh(self.last(x))


class Spectrogram(nn.Module):
    """Power of a short-time transform by a convolution, decibels, then layers that part depth."""

    def __init__(self) -> None:
        super().__init__()
        turn = torch.arange(32)[None] * torch.arange(17)[:, None] * (torch.pi / 16)
        window = torch.hann_window(32)
        self.register_buffer("basis", (torch.cat([turn.cos(), turn.sin()]) * window)[:, None])
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, (2, 1), 1, bias=False),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 8, (5, 3), padding=(2, 1), groups=8),
            nn.Conv2d(8, 12, 1),
            nn.GELU(),
        )
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        found = functional.conv1d(functional.pad(x, (16, 16), "reflect"), self.basis, stride=8)
        real, imaginary = found.chunk(2, 1)
        power = torch.log10(real**2 + imaginary**2 + 1e-4)
        found = self.layers(power[:, None])
        return torch.log_softmax(self.head(found.mean((2, 3))), -1)


class Video(nn.Module):
    """3-D convolutions, some of space and time apart, as in R(2+1)D."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv3d(3, 8, (1, 5, 5), (1, 2, 2), (0, 2, 2)), nn.BatchNorm3d(8), nn.ReLU()
        )
        self.time = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))
        self.space = nn.Conv3d(8, 8, 3, padding=1, groups=2)
        self.pool = nn.MaxPool3d(2)
        self.head = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        x = self.pool(x + functional.relu(self.space(self.time(x))))
        return self.head(functional.adaptive_avg_pool3d(x, 1).flatten(1))


class UNet(nn.Module):
    """Down, up by transposed convolution or by bilinear resizing, and what was kept beside it."""

    def __init__(self, rank: int = 2, learned: bool = True) -> None:
        super().__init__()
        conv = getattr(nn, f"Conv{rank}d")
        norm = getattr(nn, f"BatchNorm{rank}d")
        self.pool = getattr(nn, f"MaxPool{rank}d")(2)
        self.mode = ("linear", "bilinear", "trilinear")[rank - 1]
        self.up = getattr(nn, f"ConvTranspose{rank}d")(16, 8, 2, 2) if learned else conv(16, 8, 1)
        self.learned = learned

        def block(i: int, o: int) -> nn.Module:
            return nn.Sequential(conv(i, o, 3, padding=1, bias=False), norm(o), nn.ReLU())

        self.first, self.deep, self.last = block(2, 8), block(8, 16), block(16, 8)
        self.head = conv(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.first(x)
        x = self.up(self.deep(self.pool(kept)))
        if not self.learned:
            x = functional.interpolate(
                x, size=kept.shape[2:], mode=self.mode, align_corners=self.mode == "bilinear"
            )
        return self.head(self.last(torch.cat([kept, x], 1)))


class Norms(nn.Module):
    """Group, instance and layer normalisation of channels, and RMS."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(3, 12, 3, padding=1)
        self.group = nn.GroupNorm(3, 12)
        self.instance = nn.InstanceNorm2d(12, affine=True)
        self.layer = nn.LayerNorm(12)
        self.scale = nn.Parameter(torch.ones(12, 1, 1))
        self.layers = nn.ModuleList(nn.Conv2d(12, 12, 3, padding=1, groups=g) for g in (1, 12, 4))

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.layers
        x = one(functional.mish(self.group(self.front(x))))
        x = x + two(functional.hardswish(self.instance(x)))
        x = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = three(functional.elu(x))
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5) * self.scale


class Separable(nn.Module):
    """Convolutions of depth and of points, squeeze and excite, hard gates, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(3, 16, 3, 2, 1)
        self.depth = nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.point = nn.Conv2d(16, 24, 1)
        self.slope = nn.PReLU(24)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.relu6(self.norm(self.depth(functional.relu6(self.front(x)))))
        gate = functional.hardsigmoid(
            self.excite(functional.relu(self.squeeze(x.mean((2, 3), True))))
        )
        found = self.slope(self.point(x * gate))
        return found, functional.adaptive_avg_pool2d(found, (2, 2)).flatten(1)


class AttentionPooling(nn.Module):
    """Each point is weighed by a softmax over all points; queries that are learned ask, too."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(3, 16, 3, 2, 1)
        self.score = nn.Conv2d(16, 1, 1)
        self.queries = nn.Parameter(torch.randn(3, 16))
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        points = functional.gelu(self.front(x)).flatten(2)
        weights = self.score(points[..., None]).flatten(1).softmax(-1)
        pooled = (points * weights[:, None]).sum(-1)
        keys = points.transpose(1, 2)
        asked, _ = self.attend(
            self.queries.expand(x.shape[0], -1, -1), keys, keys, need_weights=False
        )
        return self.head(torch.cat([pooled[:, None], asked], 1).flatten(1))


class Transformer(nn.Module):
    """Patches, positions, and layers of attention and two linear ones."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 24))
        self.positions = nn.Parameter(torch.randn(1, 17, 24))
        one = nn.TransformerEncoderLayer(
            24, 3, 48, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(one, 2, nn.LayerNorm(24), enable_nested_tensor=False)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        found = self.patches(x).flatten(2).transpose(1, 2)
        found = torch.cat([self.first.expand(x.shape[0], -1, -1), found], 1) + self.positions
        return self.head(self.layers(found)[:, 0])


class SuperResolution(nn.Module):
    """Pixel shuffle, beside a bicubic and a nearest enlargement."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2, padding_mode="reflect"),
            nn.Tanh(),
            nn.Conv2d(16, 12, 3, padding=1, padding_mode="replicate"),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        smooth = functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        rough = functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.layers(x) + 0.5 * smooth + 0.5 * rough


class Pyramid(nn.Module):
    """Heads at three sizes, with what is above added; boxes are decoded from a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, 2, 1) for i in range(3))
        self.head = nn.Conv2d(8, 2 * 7, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for layer in self.down:
            x = functional.silu(layer(x))
            maps.append(x)
        for i in (1, 0):
            maps[i] = maps[i] + functional.interpolate(maps[i + 1], scale_factor=2.0)
        boxes, scores = [], []
        for i, found in enumerate(maps):
            count, _, high, wide = found.shape
            made = self.head(found).view(count, 2, 7, high, wide).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
            grid = torch.stack([columns, rows], -1).to(made.dtype)
            centre = (made[..., :2] * 2 - 0.5 + grid) * 2 ** (i + 1)
            boxes.append(torch.cat([centre, (made[..., 2:4] * 2) ** 2], -1).flatten(1, 3))
            scores.append(made[..., 4:].flatten(1, 3))
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class Shuffled(nn.Module):
    """Groups whose channels are shuffled, parts, rolls and flips."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(4, 12, 3, padding=1, groups=2)
        self.next = nn.Conv2d(12, 12, 3, padding=1, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self._mixed(self.front(x))
        left, right = self.next(x).chunk(2, 1)
        return torch.cat([left.roll((1, -2), (2, 3)), right.flip(3)], 1) + x

    @staticmethod
    def _mixed(x: Tensor) -> Tensor:
        count, channels, high, wide = x.shape
        return x.view(count, 3, channels // 3, high, wide).transpose(1, 2).reshape(x.shape)


class TwoInputs(nn.Module):
    """A picture, changed by scales and shifts from a second input (FiLM), and their distance."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Conv2d(3, 8, 3, padding=1)
        self.words = nn.Linear(6, 16)
        self.last = nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.words(z)[..., None, None].chunk(2, 1)
        found = functional.softplus(self.picture(x)) * (1 + scale) + shift
        found = self.last(found)
        return found, torch.linalg.vector_norm(found, dim=(2, 3))


# The networks: how each is made, and the shapes of its inputs without the batch.
HANDWRITTEN: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "conv1d_lstm": (lambda: Recurrent(nn.LSTM, True), ((3, 24),)),
    "conv1d_gru": (lambda: Recurrent(nn.GRU, False), ((3, 24),)),
    "wavenet": (WaveNet, ((1, 48),)),
    "temporal": (TemporalBlocks, ((2, 30),)),
    "vocoder": (Vocoder, ((8, 9),)),
    "spectrogram": (Spectrogram, ((1, 200),)),
    "video": (Video, ((3, 4, 16, 18),)),
    "unet": (UNet, ((2, 20, 16),)),
    "unet_resized": (lambda: UNet(learned=False), ((2, 17, 14),)),
    "unet1d": (lambda: UNet(1, learned=False), ((2, 26),)),
    "unet3d": (lambda: UNet(3), ((2, 6, 8, 10),)),
    "unet3d_resized": (lambda: UNet(3, learned=False), ((2, 6, 8, 10),)),
    "norms": (Norms, ((3, 12, 11),)),
    "separable": (Separable, ((3, 16, 16),)),
    "attention_pooling": (AttentionPooling, ((3, 14, 12),)),
    "transformer": (Transformer, ((3, 16, 16),)),
    "super_resolution": (SuperResolution, ((3, 9, 11),)),
    "pyramid": (Pyramid, ((3, 32, 32),)),
    "shuffled": (Shuffled, ((4, 9, 8),)),
    "two_inputs": (TwoInputs, ((3, 10, 9), (6,))),
}


def handwritten(name: str) -> tuple[Any, tuple[tuple[int, ...], ...]]:
    """One of these networks, and the shapes of its inputs without the batch."""
    make, shapes = HANDWRITTEN[name]
    return make(), shapes
