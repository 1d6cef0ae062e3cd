"""How long our models take to assemble, against smp's own constructors; writes results.csv beside it.

python experiments/assembly/assembly.py [pairs, 5 by default] [architecture …]
"""

from __future__ import annotations

import csv
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch

from perpixel import models
from perpixel.models import Bilinear, DySample, Encoder, Nearest, PixelShuffle, Transposed, Upsampling

HERE = Path(__file__).parent
ALLOWED = 1.10
COLUMNS = ("model", "encoder", "decoder", "smp ms", "median ms", "median ratio", "worst ratio", "limit", "pairs")

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
# smp's PSPNet cuts the encoder off at 1/8 by default; ours keeps it whole and dilates it.
SAME: dict[str, dict[str, Any]] = {"pspnet": {"encoder_depth": 5}}
ENCODERS = ("mobilenet_v2", "mit_b0")
CONVOLUTIONAL = ("unetplusplus", "linknet", "pspnet", "pan", "deeplabv3", "deeplabv3plus")
UPSAMPLINGS: dict[str, Upsampling] = {
    "bilinear": Bilinear(),
    "nearest": Nearest(),
    "transposed": Transposed(),
    "transposed 4×4": Transposed(kernel_size=4),
    "pixelshuffle": PixelShuffle(),
    "dysample": DySample(),
}
WITHOUT_WEIGHTS = ("bilinear", "nearest")
# What smp's own decoder is built with, where that is a learned step; elsewhere it interpolates. Its DPT reassembles
# with kernels as large as their stride, as our 2×2 ones are.
LEARNED_BY_SMP = {"linknet": "transposed 4×4", "dpt": "transposed"}


class Comparison(NamedTuple):
    """One architecture, encoder and upsampling against smp's model: CPU seconds of each, pair by pair."""

    name: str
    encoder: str
    upsampling: str
    ours: Sequence[float]
    smps: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours : smp's."""
        return [mine / theirs for mine, theirs in zip(self.ours, self.smps, strict=True)]

    @property
    def limited(self) -> bool:
        """Whether smp builds steps of the same kind: to make weights that smp's model has not takes its own time."""
        return self.upsampling in (*WITHOUT_WEIGHTS, LEARNED_BY_SMP.get(self.name))

    @property
    def over(self) -> bool:
        """Whether the median ratio is over the limit that holds for it."""
        return self.limited and statistics.median(self.ratios) > ALLOWED

    def row(self) -> list[str | int]:
        """The line of results.csv."""
        median = [f"{1000 * statistics.median(seconds):.1f}" for seconds in (self.smps, self.ours)]
        ratios = [f"{statistics.median(self.ratios):.3f}", f"{max(self.ratios):.3f}"]
        limit = f"{ALLOWED:.2f}" if self.limited else ""
        return [self.name, self.encoder, self.upsampling, *median, *ratios, limit, len(self.ratios)]


def cases(chosen: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(architecture, encoder) of every comparison; the smaller the encoder, the harder the limit."""
    for name in chosen or PAIRS:
        for encoder in ("vit_tiny_patch16_224",) if name == "dpt" else ENCODERS:
            if encoder != "mit_b0" or name not in CONVOLUTIONAL:
                yield name, encoder


def seconds(build: Callable[[], Any]) -> float:
    """CPU time of one construction, without the garbage of the one before."""
    gc.collect()
    start = time.process_time()
    build()
    return time.process_time() - start


def compare(name: str, encoder: str, pairs: int) -> list[Comparison]:
    """Every upsampling of an architecture; in each round smp's model and then each of ours, after one warm-up round."""
    ours, theirs = PAIRS[name]
    theirs_encoder = f"tu-{encoder}" if name == "dpt" else encoder
    chosen = ["bilinear"] if name in ("pspnet", "deeplabv3") else list(UPSAMPLINGS)

    def mine(upsampling: str) -> Any:
        return ours(Encoder(encoder), UPSAMPLINGS[upsampling], num_classes=6)

    def smps() -> Any:
        return theirs(theirs_encoder, encoder_weights=None, classes=6, **SAME.get(name, {}))

    times: dict[str, list[float]] = {upsampling: [] for upsampling in chosen}
    references: list[float] = []
    for _ in range(pairs + 1):
        references.append(seconds(smps))
        for upsampling in chosen:
            times[upsampling].append(seconds(lambda kind=upsampling: mine(kind)))
    return [Comparison(name, encoder, kind, measured[1:], references[1:]) for kind, measured in times.items()]


def show(comparison: Comparison) -> None:
    """One line on the screen."""
    name, encoder, upsampling, _, ours, ratio, *_ = comparison.row()
    mark = "  over the limit" if comparison.over else "" if comparison.limited else "  (no counterpart in smp)"
    print(f"{name:14} {encoder:20} {upsampling:15} {ours:>7} ms {ratio:>6}{mark}", flush=True)


def main() -> None:
    """Compare all; the exit status is 1 where something is over the limit."""
    torch.set_num_threads(1)
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: list[Comparison] = []
    for name, encoder in cases(sys.argv[2:]):
        for comparison in compare(name, encoder, pairs):
            show(comparison)
            found.append(comparison)
    if not sys.argv[2:]:  # a part is no result
        with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *(comparison.row() for comparison in found)])
    limited = [statistics.median(comparison.ratios) for comparison in found if comparison.limited]
    over = sum(comparison.over for comparison in found)
    print(
        f"{len(limited)} comparisons with smp's own steps: median {statistics.median(limited):.3f}, "
        f"highest {max(limited):.3f}, {over} over {ALLOWED}"
    )
    if dearest := max(
        (comparison for comparison in found if not comparison.limited),
        key=lambda each: statistics.median(each.ratios),
        default=None,
    ):
        print(
            f"without a counterpart in smp: at most {statistics.median(dearest.ratios):.3f} times smp's model", end=""
        )
        print(f" ({dearest.name} on {dearest.encoder}, {dearest.upsampling})")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
