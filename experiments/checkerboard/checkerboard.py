"""Score the checkerboard of untrained decoders and of finished runs; writes results.csv and scores.png beside it.

python experiments/checkerboard/checkerboard.py [run directory …]
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor, nn

from perpixel.config import build
from perpixel.data.base import DataSource
from perpixel.models import (
    Bilinear,
    DySample,
    Encoder,
    Nearest,
    PixelShuffle,
    SegmentationModel,
    Transposed,
    Unet,
    Upsampler,
    Upsampling,
)
from perpixel.models.checkerboard import HIGH, measure_checkerboard, natural_noise

HERE = Path(__file__).parent


class Overlapping2x(Upsampler):
    """Kernel 3 at stride 2: every other row and column is written twice (what decoder=transposed refuses)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1)

    def forward(self, features: Tensor) -> Tensor:
        upsampled: Tensor = self.conv(features)
        return upsampled


@dataclass(frozen=True)
class Overlapping(Upsampling):
    def make(self, channels: int, out_channels: int | None = None) -> Overlapping2x:
        return Overlapping2x(channels, out_channels or channels)


UPSAMPLINGS: dict[str, Upsampling] = {
    "bilinear": Bilinear(),
    "nearest": Nearest(),
    "pixelshuffle (ICNR)": PixelShuffle(),
    "dysample": DySample(),
    "transposed 4×4": Transposed(kernel_size=4),
    "transposed 2×2": Transposed(),
    "transposed 4×4, random": Transposed(kernel_size=4, init="random"),
    "transposed 2×2, random": Transposed(init="random"),
    "transposed 3×3 (refused)": Overlapping(),
}


def untrained() -> dict[str, list[float]]:
    """Scores of a U-Net for three seeds, on images with the spectrum of photographs."""
    images = natural_noise(4, 3, 128, 128)
    scores: dict[str, list[float]] = {}
    for name, upsampling in UPSAMPLINGS.items():
        for seed in range(3):
            torch.manual_seed(seed)
            model = Unet(Encoder("resnet18"), upsampling, num_classes=6)
            scores.setdefault(name, []).append(measure_checkerboard(model, images))
    return scores


def trained(run: Path) -> tuple[str, float]:
    """A run's decoder and the score of its logits on its validation images."""
    cfg = OmegaConf.load(run / "config.yaml")
    source = build(cfg.data.source, DataSource)
    model = build(
        cfg.model,
        SegmentationModel,
        encoder=Encoder(cfg.encoder.name),
        upsampling=build(cfg.decoder, Upsampling),
        num_classes=source.labels.num_classes,
        in_channels=source.channels,
    )
    model.load_state_dict(safetensors.torch.load_file(run / "model" / "model.safetensors"))
    split = source.split("val")
    images = np.stack([split.read(index, np.random.default_rng(0)).image for index in range(len(split))]) / 255
    normalised = torch.tensor((images - source.mean) / source.std, dtype=torch.float32).permute(0, 3, 1, 2)
    kind = [str(cfg.decoder[key]) for key in ("kernel_size", "init") if key in cfg.decoder]
    name = " ".join([cfg.decoder._target_.rpartition(".")[2].lower(), *kind])
    return name, measure_checkerboard(model, normalised)


def picture(rows: list[tuple[str, str, float]]) -> None:
    figure = Figure(figsize=(8.5, 0.42 * len(rows) + 1.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = {"untrained": "#94a3b8", "trained": "#2563eb"}
    labels = [f"{name}, {state}" for name, state, _ in rows]
    bars = axes.barh(labels, [max(100 * score, 1e-4) for *_, score in rows], color=[colours[s] for _, s, _ in rows])
    axes.bar_label(bars, [f"{100 * score:.3f} %" for *_, score in rows], padding=3, fontsize=8)
    axes.axvline(100 * HIGH, color="#dc2626", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(1e-4, 1000)
    axes.invert_yaxis()
    axes.set_xlabel("spectral energy of the logits on the upsampling grid (red: advice is given above)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "scores.png")


def main() -> None:
    """Score, write the table and draw it."""
    rows = [(name, "untrained", sum(scores) / len(scores)) for name, scores in untrained().items()]
    rows += [(name, "trained", score) for name, score in map(trained, map(Path, sys.argv[1:]))]
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["upsampling", "state", "score"])
        writer.writerows((name, state, f"{score:.6f}") for name, state, score in rows)
    for name, state, score in rows:
        print(f"{name:36s} {state:10s} {100 * score:8.3f} %")
    picture(rows)


if __name__ == "__main__":
    main()
