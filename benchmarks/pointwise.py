"""The tables of 1x1 layers and of depthwise ones, of networks of the field.

``core`` marks the rows at batch 1, which the goals are about.
"""

from benchmarks.layers import Layer


def _rows(lines: str, batches: str = "") -> tuple[Layer, ...]:
    """A layer for each line: its problem without the batch, a bar, its name; then those of
    ``batches``, the same with the batch in front.
    """
    made = []
    for line in lines.strip().splitlines():
        problem, name = (part.strip() for part in line.split("|"))
        made.append(Layer(name, f"n1 {problem}", core=True))
    for line in batches.strip().splitlines():
        problem, name = (part.strip() for part in line.split("|"))
        made.append(Layer(name, problem))
    return tuple(made)


POINTWISE = _rows(
    """
    c16>96 112x112 k1        | EfficientNet-B0 16>96 @112
    c16>16 112x112 k1        | MobileNetV3 16>16 @112
    c32>16 112x112 k1        | MobileNetV2 32>16 @112
    c32>48 112x112 k1        | RegNetY-400MF 32>48 @112
    c24>144 56x56 k1         | MobileNetV2 24>144 @56
    c96>24 56x56 k1          | MobileNetV2 96>24 @56
    c144>24 56x56 k1         | EfficientNet-B0 144>24 @56
    c24>72 56x56 k1          | MobileNetV3 24>72 @56
    c64>256 56x56 k1         | ResNet-50 64>256 @56
    c256>64 56x56 k1         | ResNet-50 256>64 @56
    c128>256 56x56 k1        | ResNeXt-50 128>256 @56
    c96>384 56x56 k1         | ConvNeXt-T 96>384 @56
    c384>96 56x56 k1         | ConvNeXt-T 384>96 @56
    c224>128 56x56 k1        | DenseNet-121 224>128 @56
    c48>104 56x56 k1 s2      | RegNetY-400MF 48>104 @56, stride 2
    c256>512 56x56 k1 s2     | ResNet-50 256>512 @56, stride 2
    c40>240 28x28 k1         | EfficientNet-B0 40>240 @28
    c144>40 28x28 k1         | EfficientNet-B0 144>40 @28
    c32>192 28x28 k1         | MobileNetV2 32>192 @28
    c104>104 28x28 k1        | RegNetY-400MF 104>104 @28
    c128>512 28x28 k1        | ResNet-50 128>512 @28
    c512>128 28x28 k1        | ResNet-50 512>128 @28
    c192>768 28x28 k1        | ConvNeXt-T 192>768 @28
    c352>128 28x28 k1        | DenseNet-121 352>128 @28
    c512>1024 28x28 k1 s2    | ResNet-50 512>1024 @28, stride 2
    c80>480 14x14 k1         | EfficientNet-B0 80>480 @14
    c480>112 14x14 k1        | EfficientNet-B0 480>112 @14
    c208>208 14x14 k1        | RegNetY-400MF 208>208 @14
    c256>1024 14x14 k1       | ResNet-50 256>1024 @14
    c1024>512 14x14 k1       | ResNeXt-50 1024>512 @14
    c384>1536 14x14 k1       | ConvNeXt-T 384>1536 @14
    c992>128 14x14 k1        | DenseNet-121 992>128 @14
    c1024>2048 14x14 k1 s2   | ResNet-50 1024>2048 @14, stride 2
    c192>1152 7x7 k1         | EfficientNet-B0 192>1152 @7
    c1152>192 7x7 k1         | EfficientNet-B0 1152>192 @7
    c440>440 7x7 k1          | RegNetY-400MF 440>440 @7
    c512>2048 7x7 k1         | ResNet-50 512>2048 @7
    c2048>1024 7x7 k1        | ResNeXt-50 2048>1024 @7
    c3072>768 7x7 k1         | ConvNeXt-T 3072>768 @7
    c2048>1000 1x1 k1        | ResNet-50 classifier
    """,
    """
    n8 c24>144 56x56 k1      | MobileNetV2 24>144 @56, batch 8
    n8 c256>1024 14x14 k1    | ResNet-50 256>1024 @14, batch 8
    n8 c2048>1024 7x7 k1     | ResNeXt-50 2048>1024 @7, batch 8
    n64 c192>1152 7x7 k1     | EfficientNet-B0 192>1152 @7, batch 64
    n64 c2048>1000 1x1 k1    | ResNet-50 classifier, batch 64
    """,
)

DEPTHWISE = _rows(
    """
    c32>32 112x112 k3 p1 g32          | MobileNetV2 3x3 32 @112
    c96>96 112x112 k3 s2 p1 g96       | MobileNetV2 3x3 96 @112, stride 2
    c144>144 56x56 k3 p1 g144         | MobileNetV2 3x3 144 @56
    c144>144 56x56 k3 s2 p1 g144      | MobileNetV2 3x3 144 @56, stride 2
    c192>192 28x28 k3 p1 g192         | MobileNetV2 3x3 192 @28
    c384>384 14x14 k3 p1 g384         | MobileNetV2 3x3 384 @14
    c576>576 14x14 k3 s2 p1 g576      | MobileNetV2 3x3 576 @14, stride 2
    c960>960 7x7 k3 p1 g960           | MobileNetV2 3x3 960 @7
    c144>144 56x56 k5 s2 p2 g144      | EfficientNet-B0 5x5 144 @56, stride 2
    c240>240 28x28 k5 p2 g240         | EfficientNet-B0 5x5 240 @28
    c120>120 28x28 k5 p2 g120         | MobileNetV3 5x5 120 @28
    c480>480 14x14 k5 p2 g480         | EfficientNet-B0 5x5 480 @14
    c672>672 14x14 k5 s2 p2 g672      | EfficientNet-B0 5x5 672 @14, stride 2
    c1152>1152 7x7 k5 p2 g1152        | EfficientNet-B0 5x5 1152 @7
    c96>96 56x56 k7 p3 g96            | ConvNeXt-T 7x7 96 @56
    c384>384 14x14 k7 p3 g384         | ConvNeXt-T 7x7 384 @14
    """,
    """
    n8 c144>144 56x56 k3 p1 g144      | MobileNetV2 3x3 144 @56, batch 8
    n8 c240>240 28x28 k5 p2 g240      | EfficientNet-B0 5x5 240 @28, batch 8
    """,
)
