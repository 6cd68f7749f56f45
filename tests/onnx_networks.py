"""Networks of torchvision and timm, and some written by hand, as ONNX files against PyTorch.

Each gets random weights, is exported with a free batch, and runs at batch 2 and 1; its largest
error against PyTorch in float64 is set beside that of PyTorch in float32:

    python tests/onnx_networks.py                    # all of them: half an hour on two cores
    python tests/onnx_networks.py resnet18 levit_*   # those of these names
    python tests/onnx_networks.py --json out.jsonl   # and a line for each; those there are left out
    python tests/onnx_networks.py --fast             # without precision="strict", in half the time

Whatever is not installed is left out, and said. Columns: error of ours, of ours with
``precision="strict"``, of PyTorch in float32; the first two as multiples of the third; whether a
sample alone has the bits that it has in a batch; compiled parts, and what ran on the host.
"""

import argparse
import fnmatch
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

Shapes = tuple[tuple[int, ...], ...]
# How much larger than PyTorch's an error may be.
RATIO, STRICT_RATIO = 6.0, 1.5

# Of torchvision: picture size, and arguments.
VISION: dict[str, tuple[int, dict[str, Any]]] = {
    "alexnet": (224, {}),
    "resnet18": (64, {}),
    "resnet50": (64, {}),
    "wide_resnet50_2": (64, {}),
    "resnext50_32x4d": (64, {}),
    "densenet121": (64, {}),
    "vgg11_bn": (224, {}),
    "squeezenet1_0": (64, {}),
    "squeezenet1_1": (48, {}),
    "googlenet": (64, {"aux_logits": True, "init_weights": True}),
    "inception_v3": (80, {"aux_logits": True, "init_weights": True}),
    "mobilenet_v2": (64, {}),
    "mobilenet_v3_small": (64, {}),
    "mobilenet_v3_large": (64, {}),
    "mnasnet0_5": (64, {}),
    "mnasnet1_0": (64, {}),
    "regnet_x_400mf": (64, {}),
    "regnet_y_400mf": (64, {}),
    "efficientnet_b0": (64, {}),
    "efficientnet_v2_s": (64, {}),
    "shufflenet_v2_x0_5": (64, {}),
    "shufflenet_v2_x1_0": (64, {}),
    "convnext_tiny": (64, {}),
    "swin_t": (64, {}),
    "swin_v2_t": (64, {}),
    "vit_b_16": (64, {"image_size": 64}),
    "segmentation.fcn_resnet50": (64, {"weights_backbone": None}),
    "segmentation.deeplabv3_mobilenet_v3_large": (64, {"weights_backbone": None}),
    "segmentation.lraspp_mobilenet_v3_large": (64, {"weights_backbone": None}),
    "video.r3d_18": (32, {}),
    "video.r2plus1d_18": (32, {}),
}

# Of timm: the same.
TIMM: dict[str, tuple[int, dict[str, Any]]] = {
    "convnext_atto": (64, {}),
    "convnext_atto_rms": (64, {}),
    "convnextv2_atto": (64, {}),
    "inception_next_atto": (64, {}),
    "resnet50d": (64, {}),
    "resnetaa50": (64, {}),
    "resnetv2_50": (64, {}),
    "resnetv2_50d_gn": (64, {}),
    "resnetv2_50x1_bit": (64, {}),
    "regnetx_002": (64, {}),
    "regnety_002": (64, {}),
    "efficientnet_lite0": (64, {}),
    "tf_efficientnet_b0": (64, {}),
    "tf_efficientnetv2_b0": (64, {}),
    "mixnet_s": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "mobilenetv4_hybrid_medium": (64, {}),
    "lcnet_050": (64, {}),
    "tinynet_e": (64, {}),
    "rexnet_100": (64, {}),
    "repvgg_a0": (64, {}),
    "mobileone_s0": (64, {}),
    "ghostnet_100": (64, {}),
    "ghostnetv2_100": (64, {}),
    "dla46_c": (64, {}),
    "dla34": (64, {}),
    "hrnet_w18_small": (64, {}),
    "res2net50_26w_4s": (64, {}),
    "cspresnet50": (64, {}),
    "darknet17": (64, {}),
    "cspdarknet53": (64, {}),
    "ese_vovnet19b_slim_dw": (64, {}),
    "selecsls42b": (64, {}),
    "dpn48b": (64, {}),
    "hgnetv2_b0": (64, {}),
    "eca_nfnet_l0": (64, {}),
    "nf_regnet_b0": (64, {}),
    "ecaresnet26t": (64, {}),
    "seresnet18": (64, {}),
    "skresnet18": (64, {}),
    "gcresnext26ts": (64, {}),
    "bat_resnext26ts": (256, {}),
    "halonet26t": (256, {}),
    "lambda_resnet26t": (128, {}),
    "starnet_s050": (64, {}),
    "fasternet_t0": (64, {}),
    "mambaout_femto": (64, {}),
    "coatnet_nano_rw_224": (64, {"img_size": 64}),
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64}),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "edgenext_xx_small": (64, {}),
    "fastvit_t8": (64, {}),
    "repvit_m0_9": (64, {}),
    "efficientvit_b0": (64, {}),
    "efficientvit_m0": (64, {"img_size": 64}),
    "efficientformer_l1": (224, {}),
    "levit_128s": (64, {"img_size": 64}),
    "poolformer_s12": (64, {}),
    "caformer_s18": (64, {}),
    "mixer_s32_224": (64, {"img_size": 64}),
    "gmlp_ti16_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
    "convmixer_768_32": (64, {}),
    "deit_tiny_patch16_224": (64, {"img_size": 64}),
    "vit_tiny_r_s16_p8_224": (64, {"img_size": 64}),
    "swin_tiny_patch4_window7_224": (64, {"img_size": 64}),
    "swinv2_tiny_window8_256": (64, {"img_size": 64}),
    "xcit_nano_12_p16_224": (64, {}),
    "pvt_v2_b0": (64, {}),
    "twins_svt_small": (64, {"img_size": 64}),
    "cait_xxs24_224": (64, {"img_size": 64}),
    "pit_ti_224": (64, {"img_size": 64}),
    "tnt_s_patch16_224": (64, {"img_size": 64}),
    "convit_tiny": (64, {"img_size": 64}),
    "visformer_tiny": (64, {"img_size": 64}),
    "tiny_vit_5m_224": (224, {}),
    "focalnet_tiny_srf": (64, {}),
    "sequencer2d_s": (224, {}),
    "davit_tiny": (64, {}),
    "nest_tiny": (128, {"img_size": 128}),
    "gcvit_xxtiny": (64, {"img_size": 64}),
}


def vision() -> Any:
    """torchvision; its operators in C++ are not needed, and do not fit every PyTorch."""
    from torch import library as operators

    register = operators.register_fake

    def unless_missing(name: Any, *others: Any, **options: Any) -> Any:
        if str(name).startswith("torchvision::"):
            return lambda function: function
        return register(name, *others, **options)

    operators.register_fake = unless_missing
    try:
        import torchvision
    finally:
        operators.register_fake = register
    return torchvision.models


def of_vision(name: str, size: int, options: dict[str, Any]) -> tuple[Any, Shapes]:
    models = vision()
    *folder, last = name.split(".")
    for part in folder:
        models = getattr(models, part)
    frames = (8,) if folder == ["video"] else ()
    return getattr(models, last)(weights=None, **options), ((3, *frames, size, size),)


def of_timm(name: str, size: int, options: dict[str, Any]) -> tuple[Any, Shapes]:
    vision()
    import timm

    return timm.create_model(name, pretrained=False, **options), ((3, size, size),)


def by_hand(name: str) -> tuple[Any, Shapes]:
    from onnx_handwritten import handwritten

    return handwritten(name)


def makers() -> dict[str, Callable[[], tuple[Any, Shapes]]]:
    """How each network is made, of those whose packages are installed; says which are not."""
    found: dict[str, Callable[[], tuple[Any, Shapes]]] = {}
    from onnx_handwritten import HANDWRITTEN

    for name in HANDWRITTEN:
        found[f"hand.{name}"] = lambda name=name: by_hand(name)  # type: ignore[misc]
    for package, table, make in (("torchvision", VISION, of_vision), ("timm", TIMM, of_timm)):
        try:
            vision()
            __import__(package)
        except ImportError as error:
            print(f"left out: the {len(table)} networks of {package} ({error})")
            continue
        for name, (size, options) in table.items():
            key = name if package == "torchvision" else f"timm.{name}"
            found[key] = lambda n=name, s=size, o=options, m=make: m(n, s, o)  # type: ignore[misc]
    return found


def verdict(name: str, make: Callable[[], tuple[Any, Shapes]], strict: bool) -> dict[str, Any]:
    """One network's row: what was found, or what went wrong."""
    import torch
    from onnx_against_torch import compared, settled

    start = perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        torch.manual_seed(0)
        module, shapes = make()
        found = compared(settled(module), shapes, strict=strict)
        row |= asdict(found) | {"ratio": found.ratio, "strict_ratio": found.strict_ratio}
    except Exception as error:  # whatever the exporter or Faltung raises: it is the row's text
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return row | {"seconds": round(perf_counter() - start, 1)}


def printed(row: dict[str, Any]) -> str:
    name = f"{row['name']:42}"
    if "error" in row:
        return f"{name} {row['error']} ({row['seconds']} s)"
    good = row["ratio"] <= RATIO and row["strict_ratio"] <= STRICT_RATIO and row["alone"]
    host = f"  host: {', '.join(row['host'])}" if row["host"] else ""
    return (
        f"{name} {row['fast']:8.1e} {row['strict']:8.1e} {row['torch']:8.1e} "
        f"{row['ratio']:6.2f} {row['strict_ratio']:6.2f}  {'same' if row['alone'] else 'OTHER'} "
        f"{row['parts']:3}{'' if good else '  <--'}{host}  ({row['seconds']} s)"
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="ONNX files of networks against PyTorch")
    parser.add_argument("names", nargs="*", default=["*"], help="as in a shell: resnet*")
    parser.add_argument("--json", type=Path, help="a file that gets a line for each network")
    parser.add_argument("--fast", action="store_true", help="without strict precision")
    options = parser.parse_args(words)
    warnings.filterwarnings("ignore")
    try:
        import torch
    except ImportError as error:
        print(f"nothing to compare with: {error}")
        return 0
    torch.set_num_threads(1)
    done = set()
    if options.json and options.json.exists():
        done = {json.loads(line)["name"] for line in options.json.read_text().splitlines()}
    print(f"{'':42} {'ours':>8} {'strict':>8} {'torch':>8} {'x':>6} {'x':>6}  alone parts")
    rows = []
    for name, make in makers().items():
        if name in done or not any(fnmatch.fnmatch(name, word) for word in options.names):
            continue
        row = verdict(name, make, not options.fast)
        rows.append(row)
        print(printed(row), flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
    wrong = [row for row in rows if "error" in row or "<--" in printed(row)]
    print(f"{len(rows)} networks, {len(rows) - len(wrong)} as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
