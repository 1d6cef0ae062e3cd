"""How long our models take to assemble, against smp's own constructors; writes results.csv beside it.

python experiments/assembly/assembly.py [pairs, 9 by default] [architecture …]
"""

from __future__ import annotations

import csv
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch

from perpixel import models
from perpixel.models import Bilinear, DySample, Encoder, PixelShuffle, Transposed, Upsampling

HERE = Path(__file__).parent
ALLOWED = 1.10

PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "unet": (models.Unet, smp.Unet),
    "unetplusplus": (models.UnetPlusPlus, smp.UnetPlusPlus),
    "manet": (models.MANet, smp.MAnet),
    "linknet": (models.Linknet, smp.Linknet),
    "fpn": (models.FPN, smp.FPN),
    "pspnet": (models.PSPNet, smp.PSPNet),
    "pan": (models.PAN, smp.PAN),
    "deeplabv3": (models.DeepLabV3, smp.DeepLabV3),
    "deeplabv3plus": (models.DeepLabV3Plus, smp.DeepLabV3Plus),
    "upernet": (models.UPerNet, smp.UPerNet),
    "segformer": (models.Segformer, smp.Segformer),
    "dpt": (models.DPT, smp.DPT),
}
# smp's PSPNet cuts the encoder off at 1/8; ours keeps it whole and dilates it.
SAME: dict[str, dict[str, Any]] = {"pspnet": {"encoder_depth": 5}}
ENCODERS = ("resnet18", "mobilenet_v2", "mit_b0")
CONVOLUTIONAL = ("unetplusplus", "linknet", "pspnet", "pan", "deeplabv3", "deeplabv3plus")
UPSAMPLINGS: dict[str, Upsampling] = {
    "bilinear": Bilinear(),
    "transposed 4×4": Transposed(kernel_size=4),
    "pixelshuffle": PixelShuffle(),
    "dysample": DySample(),
}


def cases(chosen: list[str]) -> Iterator[tuple[str, str, str]]:
    """(architecture, encoder, upsampling) of every comparison; the smaller the encoder, the harder the limit."""
    for name in chosen or PAIRS:
        encoders = ("vit_tiny_patch16_224",) if name == "dpt" else ENCODERS
        for encoder in encoders:
            if encoder == "mit_b0" and name in CONVOLUTIONAL:
                continue
            for upsampling in ("bilinear",) if name in ("pspnet", "deeplabv3") else UPSAMPLINGS:
                yield name, encoder, upsampling


def seconds(build: Callable[[], Any]) -> float:
    """CPU time of one construction, without the garbage of the one before."""
    gc.collect()
    start = time.process_time()
    build()
    return time.process_time() - start


def compare(name: str, encoder: str, upsampling: str, pairs: int) -> tuple[float, list[float]]:
    """Our median seconds, and the ratio ours : smp's of each pair, built in turn after one warm-up of each."""
    ours, theirs = PAIRS[name]
    theirs_encoder = f"tu-{encoder}" if name == "dpt" else encoder

    def mine() -> Any:
        return ours(Encoder(encoder), UPSAMPLINGS[upsampling], num_classes=6)

    def smps() -> Any:
        return theirs(theirs_encoder, encoder_weights=None, classes=6, **SAME.get(name, {}))

    mine(), smps()
    times = [(seconds(mine), seconds(smps)) for _ in range(pairs)]
    return statistics.median(first for first, _ in times), [first / second for first, second in times]


def main() -> None:
    """Compare all, and print what is over the limit."""
    torch.set_num_threads(1)
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    rows = []
    for name, encoder, upsampling in cases(sys.argv[2:]):
        median, ratios = compare(name, encoder, upsampling, pairs)
        ratio = statistics.median(ratios)
        rows.append([name, encoder, upsampling, f"{1000 * median:.1f}", f"{ratio:.3f}", f"{max(ratios):.3f}", pairs])
        over = "  over the limit" if ratio > ALLOWED else ""
        print(f"{name:14} {encoder:20} {upsampling:15} {1000 * median:7.1f} ms {ratio:6.3f}{over}", flush=True)
    if sys.argv[2:]:
        return  # a part is no result
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "encoder", "decoder", "ms", "median ratio", "worst ratio", "pairs"])
        writer.writerows(rows)
    medians = sorted(float(row[4]) for row in rows)
    print(f"{len(rows)} comparisons: median ratio {statistics.median(medians):.3f}, highest {medians[-1]:.3f}")


if __name__ == "__main__":
    main()
