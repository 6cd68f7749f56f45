"""THE table of small networks: every layer of `faltung.nn`, in every form that differs.

name -> (network, input shape). Their inputs are numbers, or tokens below 11 where the network
begins with an embedding.
"""

from faltung import nn

Row = tuple[nn.Layer, tuple[int, ...]]

MODES = ("zeros", "reflect", "replicate", "circular")
ACTIVATIONS: tuple[nn.Layer, ...] = (
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.2),
    nn.ELU(),
    nn.ELU(0.5),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.SiLU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.Softplus(),
    nn.HardSigmoid(),
    nn.HardSwish(),
    nn.Formula("x * tanh(softplus(x))"),
    nn.Softmax(),
)
INCEPTION = nn.Parallel(
    nn.Conv(2, 1),
    nn.Sequential(nn.Conv(3, 1), nn.ReLU(), nn.Conv(4, 3, padding="same")),
    nn.Sequential(nn.MaxPool(3, stride=1, padding=1), nn.Conv(2, 1)),
)
UNET = nn.Sequential(
    nn.Conv(4, 3, padding="same"),
    nn.Parallel(
        nn.Identity(),
        nn.Sequential(
            nn.MaxPool(2),
            nn.Conv(6, 3, padding="same"),
            nn.ReLU(),
            nn.ConvTranspose(4, 2, stride=2),
        ),
    ),
    nn.Conv(3, 1),
)

NETWORKS: dict[str, Row] = {
    "conv 1-D": (nn.Conv(4, 3, padding="same"), (3, 9)),
    "conv 2-D": (nn.Conv(4, (3, 2), stride=(2, 1), padding=((1, 0), 2)), (3, 7, 6)),
    "conv 3-D": (nn.Conv(3, 3, stride=2, padding="same"), (2, 5, 4, 6)),
    "conv dilated": (nn.Conv(4, 3, dilation=(2, 1), padding="same", bias=False), (3, 7, 6)),
    "conv grouped": (nn.Conv(6, 3, groups=3, padding=1), (3, 5, 5)),
    "conv depthwise": (nn.Conv(8, 3, groups=4, stride=2, padding=1), (4, 6, 6)),
    "conv causal": (nn.Conv(4, 3, dilation=4, padding="causal"), (3, 12)),
    "conv upper": (nn.Conv(4, 4, stride=3, padding="same_upper"), (3, 11, 8)),
    "conv flipped": (nn.Conv(4, (3, 2), padding=1, flip=True), (3, 6, 5)),
    **{
        f"conv {mode}": (nn.Conv(4, 3, padding=(2, (1, 2)), padding_mode=mode), (2, 6, 5))
        for mode in MODES
    },
    "conv globe": (
        nn.Conv(4, 3, padding="same", padding_mode=("replicate", "circular")),
        (2, 6, 8),
    ),
    "transpose": (nn.ConvTranspose(4, 2, stride=2), (3, 4, 5)),
    "transpose 1-D": (nn.ConvTranspose(3, 4, stride=3, padding=1, output_padding=2), (2, 5)),
    "transpose 3-D": (nn.ConvTranspose(2, 3, stride=2, padding=1, bias=False), (4, 3, 2, 3)),
    "transpose grouped": (nn.ConvTranspose(6, 3, stride=2, groups=3, dilation=2), (3, 4, 4)),
    "local": (nn.Local(4, 3), (2, 6, 5)),
    "local strided": (nn.Local(3, (3, 2), stride=2, padding=1, dilation=(1, 2)), (2, 7, 6)),
    "local 1-D": (nn.Local(2, 3, padding="same", bias=False), (3, 7)),
    "linear": (nn.Linear(5), (7,)),
    "linear of a map": (nn.Sequential(nn.Flatten(), nn.Linear(5, bias=False)), (3, 4, 2)),
    "flatten twice": (
        nn.Sequential(
            nn.Conv(3, 2), nn.Flatten(), nn.ReLU(), nn.Flatten(), nn.Linear(4), nn.Linear(2)
        ),
        (1, 4, 4),
    ),
    "flattened alone": (nn.Sequential(nn.Conv(2, 1), nn.Flatten()), (2, 3, 2)),
    "flattened for one": (
        nn.Sequential(
            nn.Conv(2, 1),
            nn.Parallel(
                nn.Sequential(nn.Flatten(), nn.Linear(3)),
                nn.Sequential(nn.GlobalAvgPool()),
            ),
        ),
        (2, 3, 3),
    ),
    "norm after flatten": (nn.Sequential(nn.Flatten(), nn.BatchNorm(), nn.Linear(2)), (2, 2, 2)),
    "batch norm": (nn.BatchNorm(), (3, 4, 4)),
    "batch norm of vectors": (nn.BatchNorm(eps=1e-3), (6,)),
    "group norm": (nn.GroupNorm(3), (6, 4, 3)),
    "group norm of vectors": (nn.GroupNorm(2), (6,)),
    "group norm of all": (nn.GroupNorm(1), (4, 5)),
    "layer norm": (nn.LayerNorm(), (5, 3, 2)),
    "layer norm of vectors": (nn.LayerNorm(eps=1e-3), (6,)),
    "response norm": (nn.LocalResponseNorm(5, alpha=5e-1, beta=0.75, k=2.0), (7, 3, 3)),
    "response norm even": (nn.LocalResponseNorm(4, alpha=1e-1, beta=0.5), (6, 4)),
    "response norm odd power": (nn.LocalResponseNorm(3, alpha=1e-1, beta=0.6), (5, 2, 2)),
    "max pool": (nn.MaxPool(3, stride=2, padding=1), (3, 7, 6)),
    "max pool ceil": (nn.MaxPool(3, stride=2, ceil=True), (2, 6, 8)),
    "max pool beyond": (nn.MaxPool(4, stride=3, ceil=True), (2, 3, 8)),
    "max pool dilated": (nn.MaxPool((2, 3), stride=1, dilation=2), (2, 7, 6)),
    "max pool 1-D": (nn.MaxPool(9), (3, 9)),
    "max pool 3-D": (nn.MaxPool((1, 2, 2)), (3, 4, 5, 4)),
    "average pool": (nn.AvgPool(3, stride=2, padding=1), (2, 6, 7)),
    "average pool inside": (nn.AvgPool(3, stride=2, padding=1, count_padding=False), (2, 6, 7)),
    "average pool ceil": (nn.AvgPool(3, stride=2, padding=1, ceil=True), (2, 6, 8)),
    "average pool ceil inside": (
        nn.AvgPool(3, stride=2, ceil=True, count_padding=False),
        (2, 6, 8),
    ),
    "global average": (nn.GlobalAvgPool(), (4, 3, 5)),
    "upsample nearest": (nn.Upsample(scale=2), (3, 4, 5)),
    "upsample nearest to a size": (nn.Upsample(size=(7, 3)), (3, 4, 5)),
    "upsample nearest exactly": (nn.Upsample(scale=1.5, mode="nearest-exact"), (2, 5)),
    "upsample linear": (nn.Upsample(scale=1.7, mode="linear"), (3, 6)),
    "upsample bilinear": (nn.Upsample(scale=2, mode="bilinear"), (3, 4, 5)),
    "upsample bilinear, aligned": (
        nn.Upsample(scale=(2, 1.5), mode="bilinear", align_corners=True),
        (1, 4, 5),
    ),
    "upsample trilinear": (nn.Upsample(size=(3, 5, 2), mode="trilinear"), (2, 2, 3, 4)),
    "upsample bicubic": (nn.Upsample(size=(9, 4), mode="bicubic"), (3, 4, 5)),
    "upsample antialiased": (
        nn.Upsample(scale=0.3, mode="bicubic", antialias=True),
        (2, 17, 15),
    ),
    "upsample by areas": (nn.Upsample(size=(3, 2), mode="area"), (3, 4, 5)),
    "pad": (nn.Pad(((1, 2), (0, -1))), (3, 4, 5)),
    "pad with a number": (nn.Pad((1, (2, 0)), value=-1.5), (3, 4, 5)),
    **{
        f"pad {mode}": (nn.Pad(((2, 1), (0, 3)), mode=mode), (2, 4, 5))
        for mode in ("reflect", "replicate", "circular")
    },
    "pad twice": (
        nn.Sequential(nn.Pad(2), nn.Pad(1, mode="replicate"), nn.Conv(3, 3), nn.ReLU()),
        (2, 3, 4),
    ),
    "adaptive average": (nn.AdaptiveAvgPool((3, 4)), (3, 7, 8)),
    "adaptive average that divides": (nn.AdaptiveAvgPool(2), (3, 4, 8)),
    "adaptive maximum": (nn.AdaptiveMaxPool((3, 2)), (3, 7, 8)),
    "adaptive maximum 1-D": (nn.AdaptiveMaxPool(9), (2, 4)),
    "blur": (nn.Blur(), (3, 5, 6)),
    "blur of four taps": (nn.Blur(taps=4, stride=(1, 3), mode="circular"), (2, 5, 6)),
    "pixel shuffle": (nn.PixelShuffle(2), (8, 3, 4)),
    "pixel shuffle 1-D": (nn.PixelShuffle(3), (6, 4)),
    "pixel unshuffle": (nn.PixelUnshuffle(2), (3, 4, 6)),
    "pixel unshuffle 3-D": (nn.PixelUnshuffle(2), (1, 2, 4, 2)),
    "upsampled beside": (
        nn.Sequential(
            nn.Parallel(
                nn.Conv(2, 3, padding=1),
                nn.Sequential(nn.MaxPool(2), nn.Conv(3, 1), nn.Upsample(scale=2, mode="bilinear")),
            ),
            nn.ReLU(),
            nn.Conv(2, 3),
        ),
        (2, 6, 4),
    ),
    "dropout": (nn.Sequential(nn.Dropout(0.0), nn.ReLU()), (3, 2)),
    "embedding": (nn.Sequential(nn.Embedding(11, 4), nn.Conv(3, 2), nn.ReLU()), (8,)),
    "embedding padded": (nn.Embedding(11, 4, padding_index=2), (8,)),
    "lstm": (nn.LSTM(5), (3, 7)),
    "lstm in both directions": (nn.LSTM(17, layers=2, bidirectional=True, bias=False), (3, 5)),
    "lstm of one step": (nn.LSTM(1, last=True), (2, 1)),
    "gru": (nn.GRU(6), (3, 5)),
    "gru in both directions": (nn.GRU(33, bidirectional=True, last=True), (2, 4)),
    "gru without bias": (nn.GRU(4, layers=2, bias=False), (3, 4)),
    "rnn": (nn.RNN(9, layers=2, bidirectional=True), (3, 6)),
    "rnn rectified": (nn.RNN(4, nonlinearity="relu", last=True), (3, 6)),
    "inception": (INCEPTION, (3, 6, 6)),
    "parallel of vectors": (nn.Parallel(nn.Linear(2), nn.Identity(), nn.Tanh()), (3,)),
    "attention": (nn.Attention(2), (6, 3, 4)),
    "attention of a sequence": (nn.Attention(3, bias=False, causal=True), (6, 9)),
    "attention with shared keys": (nn.Attention(4, kv_heads=2), (8, 5)),
    "residual": (
        nn.Residual(nn.Sequential(nn.Conv(3, 3, padding="same"), nn.BatchNorm(), nn.ReLU())),
        (3, 5, 5),
    ),
    "residual shortcut": (
        nn.Residual(
            nn.Conv(4, 3, stride=2, padding=1), shortcut=nn.Conv(4, 1, stride=2, bias=False)
        ),
        (3, 5, 6),
    ),
    "residual of itself": (nn.Residual(nn.Identity()), (3, 2)),
    "auxiliary": (
        nn.Sequential(
            nn.Conv(3, 3),
            nn.Auxiliary(nn.Sequential(nn.Flatten(), nn.Linear(4)), weight=0.5),
            nn.ReLU(),
            nn.Conv(4, 3),
            nn.GlobalAvgPool(),
        ),
        (2, 6, 6),
    ),
    "squeeze": (nn.SqueezeExcite(2), (6, 4, 3)),
    "squeeze 1-D": (nn.SqueezeExcite(3, activation=nn.SiLU(), gate=nn.HardSigmoid()), (5, 7)),
    "squeeze inside": (
        nn.Sequential(
            nn.Conv(6, 3, groups=3, padding=1), nn.HardSwish(), nn.SqueezeExcite(4), nn.Conv(2, 1)
        ),
        (3, 5, 4),
    ),
    "layer scale": (
        nn.Residual(nn.Sequential(nn.Conv(3, 1), nn.LayerScale(initial=0.1))),
        (3, 4, 5),
    ),
    "layer scale of vectors": (nn.LayerScale(), (7,)),
    "channels": (nn.Channels(2, count=3), (7, 4, 3)),
    "channels, the rest": (nn.Sequential(nn.Conv(6, 1), nn.Channels(4), nn.ReLU()), (3, 5)),
    "channels overlapping": (
        nn.Parallel(
            nn.Channels(0, count=4),
            nn.Sequential(nn.Channels(1, count=5), nn.Tanh()),
            nn.Channels(6),
        ),
        (8, 3, 2),
    ),
    "channels of vectors": (nn.Parallel(nn.Channels(3), nn.Channels(0, count=2)), (5,)),
    "shuffle": (nn.ChannelShuffle(3), (12, 3, 2)),
    "shuffle of vectors": (nn.Sequential(nn.Linear(8), nn.ChannelShuffle(2)), (3,)),
    "shuffle unit": (
        nn.Sequential(
            nn.Conv(6, 1),
            nn.Parallel(
                nn.Channels(0, count=3),
                nn.Sequential(nn.Channels(3), nn.Conv(3, 3, padding=1), nn.ReLU()),
            ),
            nn.ChannelShuffle(2),
        ),
        (2, 5, 4),
    ),
    "dense": (
        nn.Sequential(
            *(
                nn.Parallel(
                    nn.Identity(),
                    nn.Sequential(nn.BatchNorm(), nn.ReLU(), nn.Conv(2, 3, padding=1)),
                )
                for _ in range(3)
            )
        ),
        (3, 4, 5),
    ),
    "class token": (nn.Sequential(nn.ClassToken(), nn.Conv(3, 2)), (4, 3, 2)),
    "positions": (nn.Sequential(nn.PositionEmbedding(), nn.Tanh()), (3, 2, 4)),
    "position": (nn.Sequential(nn.Conv(3, 2), nn.Position(4), nn.Linear(2)), (2, 3, 4)),
    "transformer": (
        nn.Sequential(
            nn.Conv(6, 2, stride=2),
            nn.ClassToken(),
            nn.PositionEmbedding(),
            nn.Residual(nn.Sequential(nn.LayerNorm(), nn.Attention(2))),
            nn.Position(0),
        ),
        (2, 4, 6),
    ),
    "patches": (
        nn.Patches(nn.Sequential(nn.LayerNorm(), nn.Conv(3, 3, padding=1), nn.ReLU()), size=(2, 3)),
        (4, 4, 6),
    ),
    "patches 1-D": (nn.Sequential(nn.Conv(4, 1), nn.Patches(nn.Attention(2))), (3, 6)),
    "patches normalised": (nn.Patches(nn.Sequential(nn.Conv(4, 1), nn.BatchNorm())), (3, 4, 2)),
    "stochastic depth": (nn.Sequential(nn.StochasticDepth(0.0), nn.ReLU()), (3, 2)),
    "wired": (
        nn.Wired(
            nn.Conv(4, 3, padding=1, name="fine"),
            nn.MaxPool(2, name="coarse"),
            nn.Conv(3, 1, name="deep"),
            nn.Upsample(scale=2, name="up"),
            nn.Read(nn.Sequential(nn.Conv(5, 1), nn.ReLU()), "up", "fine", "input", name="both"),
            nn.Read(nn.Conv(3, 1), "both", name="one"),
            nn.Read(nn.Identity(), "one", "deep", along="positions"),
        ),
        (2, 4, 6),
    ),
    "wired in turn": (
        nn.Wired(nn.Tanh(name="a"), nn.Conv(2, 1, name="b"), nn.Read(nn.Sigmoid(), "b", "a", "b")),
        (2, 5),
    ),
    "unet": (UNET, (2, 6, 4)),
    "on grids": (
        nn.Sequential(
            nn.Quantise(0.25, zero=3, low=-9, high=12), nn.Conv(4, 3, groups=2, bits=8), nn.ReLU()
        ),
        (4, 5, 4),
    ),
    "on grids, flipped": (
        nn.Sequential(nn.Quantise(0.25), nn.MaxPool(2), nn.Conv(2, 2, bits=3, flip=True)),
        (2, 9),
    ),
    "on grids, linear": (nn.Sequential(nn.Flatten(), nn.Linear(3, bits=4)), (2, 3, 2)),
    "on grids, transposed": (nn.ConvTranspose(4, 3, stride=2, groups=2, bits=5), (4, 3, 3)),
    **{f"activation {layer!r}": (layer, (3, 4)) for layer in ACTIVATIONS},
}
TOKENS = ("embedding", "embedding padded")
# With formulas of parameters, which are rounded: what is smooth, or said as text, leaves them out.
GRIDS = tuple(name for name in NETWORKS if name.startswith("on grids"))
