"""Score the checkerboard of untrained decoders and of finished runs; writes results.csv and scores.png beside it.

python experiments/checkerboard/checkerboard.py <sweep or run directory …>
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from perpixel.analysis.checkerboard import HIGH, measure_checkerboard, natural_noise
from perpixel.bundle.bundle import read_bundle_weights
from perpixel.config import build, compose, read_run_config
from perpixel.data import DataModule
from perpixel.models import Encoder, Unet, Upsampling
from perpixel.tracking.runs import Run, load_run, load_sweep
from perpixel.workflows.assembly import build_data, build_model, build_source, without_weights

HERE = Path(__file__).parent
SEEDS = range(3)

DECODERS = (
    ["decoder=bilinear"],
    ["decoder=nearest"],
    ["decoder=pixelshuffle"],
    ["decoder=dysample"],
    ["decoder=transposed"],
    ["decoder=transposed", "decoder.kernel_size=4"],
    ["decoder=transposed", "decoder.init=random"],
    ["decoder=transposed", "decoder.kernel_size=4", "decoder.init=random"],
    ["decoder=transposed", "decoder.kernel_size=3", "decoder.init=random", "decoder.uneven=true"],
)


class Row(NamedTuple):
    """One model: how it upsamples, whether it was trained, its seed, its score, and what it predicts."""

    upsampling: str
    state: str
    seed: int
    score: float
    val_mIoU: float | None = None
    test_mIoU: float | None = None


def name_of(decoder: Mapping[str, Any]) -> str:
    """How a decoder's config is called in table and picture."""
    kind = decoder["_target_"].rpartition(".")[2].lower()
    if kind != "transposed":
        return kind
    size = decoder["kernel_size"]
    return f"transposed {size}×{size}" + (", random" if decoder["init"] == "random" else "")


def untrained() -> Iterator[Row]:
    """U-Nets on a random ResNet-18, scored on images with the spectrum of photographs."""
    images = natural_noise(4, 3, 128, 128)
    for overrides in DECODERS:
        node = compose(overrides).cfg.decoder
        for seed in SEEDS:
            torch.manual_seed(seed)
            upsampling = build(node, Upsampling, "decoder")  # type: ignore[type-abstract]
            model = Unet(Encoder("resnet18"), upsampling, num_classes=6)
            yield Row(name_of(node), "untrained", seed, measure_checkerboard(model, images))


def trained(run: Run) -> Row:
    """A finished run, scored on its validation images."""
    cfg = without_weights(read_run_config(run.directory / "config.yaml"))  # the run brings all weights
    source = build_source(cfg)
    model = build_model(cfg, source.labels.num_classes, source.channels)
    model.load_state_dict(read_bundle_weights(run.directory))
    score = measure_checkerboard(model, validation_images(build_data(cfg, source)))
    return Row(name_of(cfg.decoder), "trained", cfg.seed, score, run.score("val", "mIoU"), run.score("test", "mIoU"))


def validation_images(data: DataModule) -> Tensor:
    """All of them, normalised as the model takes them."""
    batches = [data.on_after_batch_transfer(batch, 0)["image"] for batch in data.eval_dataloader("val")]
    return torch.cat(batches)


def finished_runs(directories: Iterable[Path]) -> Iterator[Run]:
    """The finished runs of sweeps and single runs."""
    for directory in directories:
        runs = load_sweep(directory).runs if (directory / "sweep.json").is_file() else [load_run(directory)]
        yield from (run for run in runs if run.status == "finished")


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The seeds of each upsampling, untrained and trained."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.upsampling, row.state), []).append(row)
    return groups


def picture(rows: list[Row]) -> None:
    """A dot per model, on a logarithmic axis; the untrained above the trained ones."""
    names = list(dict.fromkeys(row.upsampling for row in rows))
    figure = Figure(figsize=(8.5, 0.5 * len(names) + 1.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for state, colour, shift in (("untrained", "#94a3b8", -0.15), ("trained", "#2563eb", 0.15)):
        of_state = [row for row in rows if row.state == state]
        places = [names.index(row.upsampling) + shift for row in of_state]
        scores = [max(100 * row.score, 1e-4) for row in of_state]
        axes.scatter(scores, places, color=colour, s=28, label=state, alpha=0.85, linewidth=0)
    axes.axvline(100 * HIGH, color="#dc2626", linewidth=1, label="advice is given above")
    axes.set_xscale("log")
    axes.set_xlim(8e-5, 100)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel("% of the logits' spectral energy on the upsampling grid, one dot per seed")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
    figure.savefig(HERE / "scores.png")


def table(rows: list[Row]) -> Iterator[str]:
    """The README's table, as Markdown."""
    groups = grouped(rows)
    yield "| upsampling | untrained | trained | val mIoU | test mIoU |"
    yield "|---|---:|---:|---:|---:|"
    for name in dict.fromkeys(row.upsampling for row in rows):
        before, after = groups.get((name, "untrained"), []), groups.get((name, "trained"), [])
        scores = [_spread([100 * row.score for row in part], "{:.3f} %") for part in (before, after)]
        quality = [_spread([row[column] for row in after], "{:.3f}") for column in (4, 5)]
        yield "| " + " | ".join([name, *scores, *quality]) + " |"


def _spread(values: list[Any], shown: str) -> str:
    """Mean and range over the seeds."""
    if not values:
        return "–"
    mean, low, high = (shown.format(each) for each in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low.removesuffix(' %')} … {high.removesuffix(' %')})"


def main() -> None:
    """Score, write the table and draw it."""
    rows = [*untrained(), *map(trained, finished_runs(map(Path, sys.argv[1:])))]
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    print(*table(rows), sep="\n")
    picture(rows)


if __name__ == "__main__":
    main()
