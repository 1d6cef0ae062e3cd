"""``shapes``: the spatial-size table of a model, as text, CSV and picture."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from perpixel.cli.arguments import checked_jobs, parse, refuse, run_hydra, shows_only
from perpixel.config.compose import job_name
from perpixel.config.errors import together

if TYPE_CHECKING:
    from perpixel.analysis.shapes import Stage
    from perpixel.config import Job
    from perpixel.models import SegmentationModel

log = logging.getLogger(__name__)

OF_THE_RUN = ("encoder", "decoder", "model", "in_channels", "num_classes")
COLUMNS = ("stage", "height", "width", "channels", "stride", "parameters", "macs", "theoretical", "measured")


def main() -> None:
    """Check the command line, then describe the model."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: shapes takes one model; -m belongs to train.")
    jobs = checked_jobs(args, "shapes")
    if not shows_only(args) and (faults := [*check(jobs[0].cfg), *_overruled(jobs[0])]):
        refuse(together(faults))
    run_hydra(shapes, "shapes")


def check(cfg: DictConfig) -> list[str]:
    """Faults of the verb's own keys, told before torch is imported."""
    least = {"in_channels": 1, "num_classes": 1, "measured": 0, "seed": 0}
    faults = [f"{key}={cfg[key]}: give a whole number, {low} or more." for key, low in least.items() if cfg[key] < low]
    size = cfg.size
    if len(size) != 2 or min(size) < 1:
        faults.append(f"size={size}: give height and width in pixels, as in size=[256,256].")
    return faults


def _overruled(job: Job) -> list[str]:
    """Choices that would go unheard: a loss, and beside ``run=`` another network."""
    keys = {override.lstrip("+~").partition("=")[0] for override in job.overrides}
    if loss := sorted(key for key in keys if key.partition(".")[0] == "loss"):
        return [f"{key}=: shapes trains nothing; leave it out." for key in loss]
    told = {key for key in keys if key.partition(".")[0] in OF_THE_RUN} if job.cfg.run is not None else set()
    return [f"{key}=: run={job.cfg.run} brings its own; leave out one of them." for key in sorted(told)]


def shapes(cfg: DictConfig) -> None:
    """Print the table, and write ``shapes.csv`` and ``shapes.png``.

    Raises:
        ValueError: the model cannot be built as configured.
    """
    from perpixel.analysis.shapes import describe, measure, totals
    from perpixel.bundle import ModelBundle
    from perpixel.reporting.shapes_picture import shapes_picture

    if cfg.run is None:
        model, channels = build_model(cfg), int(cfg.in_channels)
    else:
        bundle = ModelBundle.load(cfg.run)
        model, channels = bundle.model, bundle.spec.in_channels
    height, width = cfg.size
    stages = describe(model, height, width, channels)
    if cfg.measured:
        measure(model, stages, height, width, channels, images=cfg.measured)
    _print(stages)
    parameters, macs = totals(stages)
    size = _size(model, height, width)
    log.info("%s parameters, %.2f GMACs for one image of %s", f"{parameters:,}", macs / 1e9, size)
    if cfg.checkerboard:
        _checkerboard(cfg, model, channels)
    overrides = list(HydraConfig.get().overrides.task)
    out = Path(cfg.output, "shapes", job_name(overrides, ("output", "measured", "checkerboard")))
    out.mkdir(parents=True, exist_ok=True)
    write_csv(stages, out / "shapes.csv")
    title = f"{cfg.run or _choices()} on {size}: {parameters / 1e6:.1f} M parameters, {macs / 1e9:.1f} GMACs"
    shapes_picture(stages, (channels, height, width), title, out / "shapes.png")
    log.info("written to %s and %s", out / "shapes.csv", out / "shapes.png")


def _size(model: SegmentationModel, height: int, width: int) -> str:
    """ "250×190, padded to 256×192": the stages' sizes are the padded image's."""
    from perpixel.models.base import padded

    inner = padded(height, model.stride), padded(width, model.stride)
    return f"{height}×{width}" + ("" if inner == (height, width) else f", padded to {inner[0]}×{inner[1]}")


def build_model(cfg: DictConfig, **replaced: Any) -> SegmentationModel:
    """The model of a config, initialised from its seed.

    Args:
        replaced: built objects to use instead of the config's, such as ``upsampling``.
    """
    import torch

    from perpixel.models.build import build_network

    torch.manual_seed(cfg.seed)
    return build_network(cfg, cfg.num_classes, cfg.in_channels, **replaced)


def _choices() -> str:
    choices = HydraConfig.get().runtime.choices
    return ", ".join(f"{group}={choices[group]}" for group in ("model", "encoder", "decoder"))


def _checkerboard(cfg: DictConfig, model: SegmentationModel, channels: int) -> None:
    from perpixel.analysis.checkerboard import advice_for, measure_checkerboard, natural_noise
    from perpixel.models import Bilinear

    images = natural_noise(2, channels, *(max(64, n) for n in cfg.size))
    if cfg.run is None:
        score, told = measure_checkerboard(model, images), None
        with _quiet("perpixel.models.weights"):  # the twin's weights are the model's, of which all is told
            twin = build_model(cfg, upsampling=Bilinear())
        smooth = measure_checkerboard(twin, images)
    else:
        found, told = advice_for(model, images)
        score, smooth = found["score"], found["smooth"]
    log.info(
        "checkerboard, %s: %.2f %% of the logits' spectral energy on the upsampling grid (bilinear: %.2f %%)",
        "untrained" if cfg.run is None else "trained",
        100 * score,
        100 * smooth,
    )
    if told:
        log.warning(told)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Errors only from a logger inside the block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def rows(stages: Sequence[Stage]) -> list[list[str]]:
    """The table's cells, as text."""
    return [
        [
            stage.name,
            str(stage.height),
            str(stage.width),
            str(stage.channels),
            f"{stage.stride:g}",
            str(stage.parameters),
            str(stage.macs),
            "all" if stage.sees_all else "×".join(f"{side:.0f}" for side in stage.theoretical),
            "" if stage.measured is None else str(stage.measured),
        ]
        for stage in stages
    ]


def write_csv(stages: Sequence[Stage], path: Path) -> None:
    """The table with whole numbers; ``theoretical`` is "all" where a stage sees the whole image."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows(stages))


def _print(stages: Sequence[Stage]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="stages in the order of computation; receptive fields in image pixels")
    for column in ("stage", "H×W", "channels", "stride", "parameters", "MMACs", "field", "measured (95 %)"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for stage, cells in zip(stages, rows(stages), strict=True):
        size = f"{stage.height}×{stage.width}"
        cost = [f"{stage.parameters:,}", f"{stage.macs / 1e6:,.1f}"]
        table.add_row(stage.name, size, f"{stage.channels:,}", cells[4], *cost, *cells[7:])
    Console(width=None if sys.stdout.isatty() else 120).print(table)
