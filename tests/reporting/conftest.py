"""A sweep as it looks on disk, fabricated: four finished runs, one that failed, one not yet started."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from omegaconf import OmegaConf
from PIL import Image

from perpixel.labels import LabelSpace
from perpixel.reporting.pictures import overlay_strip, reliability_picture
from perpixel.uncertainty import Conditions, PerImage, intervals, write_counts

LABELS = LabelSpace(
    names=("ocean", "tropical", "arid", "temperate", "continental", "polar"),
    palette=((30, 64, 120), (20, 140, 60), (235, 190, 90), (140, 200, 70), (150, 90, 170), (205, 225, 240)),
)
DIFFICULTY = (0.02, 0.35, 0.10, 0.55, 0.33, 0.24)
ERROR = """RuntimeError: CUDA out of memory: tried to allocate <2 GiB> & gave up
Lower data.batch_size, data.size or model width.
<script>alert("from an error")</script>"""
QUALITY = {"transposed,ce": 0.74, "transposed,dice": 0.86, "bilinear,ce": 0.80, "bilinear,dice": 0.90}
SIZE = 96
RELIABILITY = {
    "share": [0.0, 0.05, 0.15, 0.3, 0.5],
    "confidence": [None, 0.33, 0.51, 0.72, 0.94],
    "accuracy": [None, 0.36, 0.45, 0.61, 0.9],
}


def fabricate_sweep(root: Path, seeds: tuple[int, ...] = (), images: int = 0, groups: int = 0) -> Path:
    """Write a sweep of decoder × loss (× seed): all finish but the pixelshuffle runs, of which one is pending.

    With ``images`` the finished runs have counted so many val images one by one, in so many ``groups``.
    """
    jobs = []
    for decoder in ("transposed", "bilinear", "pixelshuffle"):
        for loss in ("ce", "dice"):
            for seed in seeds or (None,):
                overrides = [f"decoder={decoder}", f"loss={loss}", *([] if seed is None else [f"seed={seed}"])]
                name = "_".join(override.replace("=", "-") for override in overrides)
                jobs.append({"num": len(jobs), "dir": f"{len(jobs)}_{name}", "overrides": overrides})
    command = ["src/train.py", "-m", "decoder=transposed,bilinear,pixelshuffle", "loss=ce,dice"]
    ledger = {"started": "2026-11-21T05:00:00+00:00", "command": command, "jobs": jobs}
    root.mkdir(parents=True, exist_ok=True)
    (root / "sweep.json").write_text(json.dumps(ledger))
    for job in jobs:
        quality = QUALITY.get(",".join(override.partition("=")[2] for override in job["overrides"][:2]))
        if quality is not None:
            fabricate_run(root / job["dir"], job, min(0.97, quality + 0.01 * (job["num"] % 3)), 0 if images else 6)
            if images:
                fabricate_counts(root / job["dir"], quality, job["num"], images, groups)
        elif job["overrides"][1] == "loss=ce":
            fabricate_failure(root / job["dir"], job)
    return root


def fabricate_run(directory: Path, job: dict[str, Any], quality: float, samples: int = 6) -> None:
    """Write all files of a finished run; ``quality`` in 0…1 sets its scores and how clean its predictions are."""
    (directory / "overlays").mkdir(parents=True)
    confusion = _confusion(quality)
    scores = {"val": _scores(confusion), "test": _scores(_confusion(quality - 0.03))}
    _write_config(directory, job)
    _write_manifest(directory, job, status="finished", error=None)
    _write_history(directory, scores["val"]["mIoU"], job["num"])
    metrics = {"classes": LABELS.names, "palette": LABELS.palette, **scores}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    for split in scores if samples else ():
        Image.fromarray(reliability_picture(RELIABILITY)).save(directory / f"reliability_{split}.png")
    for sample in range(samples):
        _write_overlay(directory / "overlays" / f"val_{sample:03d}.png", sample, quality, job["num"])


def fabricate_counts(directory: Path, quality: float, job: int, images: int, groups: int = 0) -> None:
    """Give a run counts of its images in place of its scores; the same images in every run."""
    data, own = np.random.default_rng(7), np.random.default_rng(job)
    truth = data.multinomial(4096, (0.5, 0.15, 0.14, 0.06, 0.12, 0.03), images)
    hard = 0.12 * data.standard_normal((images, 1))
    kept = (quality - 0.6 * np.array(DIFFICULTY) + hard + 0.03 * own.standard_normal((images, 6))).clip(0.02, 0.98)
    tp = own.binomial(truth, kept)
    counts = np.stack([tp, own.permuted(truth - tp, axis=1), truth - tp], 1)
    names = tuple(f"val_{place:03d}" for place in range(images))
    known = {name: {"group": f"site {place % groups}"} for place, name in enumerate(names)} if groups else {}
    counted = {"names": names, "counts": counts, "sizes": np.full((images, 2), 64)}
    found = PerImage.of(counted, LABELS.names, Conditions(known, "sites"))
    metrics = json.loads((directory / "metrics.json").read_text())
    iou = counts[:, 0].sum(0) / counts.sum((0, 1))
    for split in ("val", "test"):
        metrics[split] |= {"mIoU": iou.mean(), **{f"IoU/{name}": iou[place] for place, name in enumerate(LABELS.names)}}
        metrics[split]["intervals"] = {name: one.plain() for name, one in intervals(found).items()}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    with (directory / "metrics_images.npz").open("wb") as file:
        write_counts(file, {"val": found, "test": found})


def fabricate_failure(directory: Path, job: dict[str, Any]) -> None:
    """Write what a run leaves that died in its second epoch."""
    directory.mkdir(parents=True)
    _write_config(directory, job)
    _write_manifest(directory, job, status="failed", error=ERROR)
    lines = [{"epoch": 0, "train/loss": 1.6, "val/loss": None, "val/mIoU": 0.2}, {"epoch": 1, "train/loss": 1.4}]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 1, "val')


def _write_config(directory: Path, job: dict[str, Any]) -> None:
    decoder, loss = (override.partition("=")[2] for override in job["overrides"][:2])
    config = {
        "seed": 0,
        "model": {"_target_": "perpixel.models.Unet", "skips": True},
        "decoder": {"_target_": f"perpixel.models.{decoder.title()}"},
        "loss": {"_target_": f"perpixel.losses.{loss.title()}", "label_smoothing": 0.1 if loss == "ce" else None},
        "optimizer": {"lr": 0.002, "weight_decay": 0.01},
        "data": {"size": [96, 96], "batch_size": 8},
        "output": str(directory),
    }
    OmegaConf.save(config, directory / "config.yaml")
    OmegaConf.save(job["overrides"], directory / "overrides.yaml")


def _write_manifest(directory: Path, job: dict[str, Any], status: str, error: str | None) -> None:
    manifest = {
        "name": directory.name,
        "job": job["num"],
        "sweep": directory.parent.name,
        "status": status,
        "error": error,
        "command": ["src/train.py", *job["overrides"]],
        "seed": 0,
        "started": "2026-11-21T05:00:00+00:00",
        "finished": "2026-11-21T05:01:00+00:00",
        "duration_s": 48.0 + 3.7 * job["num"],
        "versions": {"perpixel": "0.1.0", "torch": "2.10.0", "lightning": "2.6.6", "python": "3.11.2"},
        "git": {"commit": "319b7bc0d1e2f3a4b5c6d7e8f90123456789abcd", "dirty": job["num"] == 1},
        "hardware": {"cpu": "2 × EPYC", "cores": 2, "accelerator": "cpu", "memory_gib": 8},
        "data": {"train": "a3" * 32, "val": "b4" * 32, "test": "c5" * 32},
        "looks": {"test": 1},
        "parameters": 6_251_234 + 180_000 * ("transposed" in directory.name),
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _write_history(directory: Path, final: float, job: int, epochs: int = 12) -> None:
    rng = np.random.default_rng(job)
    lines = []
    for epoch in range(epochs):
        progress = 1 - math.exp(-(epoch + 1) / 3)
        miou = (
            final * progress * (1 + 0.02 * rng.standard_normal()) if epoch < epochs - 2 else final - 0.01 * (epoch % 2)
        )
        loss = 1.9 - (1.1 + 0.4 * final) * progress + 0.03 * rng.standard_normal()
        lines.append(
            {"epoch": epoch, "train/loss": loss, "train/images_per_s": 21 + rng.standard_normal(), "lr": 0.002}
        )
        lines.append({"epoch": epoch, "val/loss": loss + 0.08 + 0.01 * epoch, "val/mIoU": miou})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _confusion(quality: float) -> npt.NDArray[np.int64]:
    """Rows = truth; harder classes lose more pixels, mostly to their neighbours in the list; class 5 is rare."""
    pixels = np.array((90_000, 30_000, 24_000, 9_000, 21_000, 2_500))
    kept = 1 - np.array(DIFFICULTY) * (1.6 - quality)
    spread = np.exp(-np.abs(np.subtract.outer(np.arange(6), np.arange(6))) / 1.2)
    np.fill_diagonal(spread, 0)
    lost = (pixels * (1 - kept))[:, None] * spread / spread.sum(axis=1, keepdims=True)
    return (lost + np.diag(pixels * kept)).astype(np.int64)


def _scores(confusion: npt.NDArray[np.int64]) -> dict[str, Any]:
    hits, truth, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou = hits / (truth + predicted - hits)
    return {
        "mIoU": float(iou.mean()),
        "fwIoU": float((iou * truth / truth.sum()).sum()),
        "mDice": float((2 * hits / (truth + predicted)).mean()),
        "pixel_accuracy": float(hits.sum() / truth.sum()),
        "mean_accuracy": float((hits / truth).mean()),
        **{f"IoU/{name}": float(value) for name, value in zip(LABELS.names, iou, strict=True)},
        "mBoundaryIoU": float(iou.mean() ** 2),
        "mBoundaryF": float(iou.mean() ** 1.5),
        "mThinRecall": None,
        "mSmallObjectRecall": float(iou.min()),
        "ECE": float((1 - iou.mean()) / 3),
        "absent": [],
        "confusion": confusion.tolist(),
        "reliability": RELIABILITY,
    }


def _write_overlay(path: Path, sample: int, quality: float, job: int) -> None:
    rng = np.random.default_rng(sample)
    fields = [_smooth(rng, 22) for _ in LABELS.names]
    target = np.argmax(np.stack(fields) + np.array((0.5, 0.2, 0.2, 0, 0.1, -0.3))[:, None, None], axis=0).astype(
        np.uint8
    )
    shade = (0.75 + 0.13 * _smooth(rng, 3) + 0.08 * _smooth(rng, 9))[..., None]
    image = np.clip(LABELS.colour(target) * shade * (0.7, 0.75, 0.7), 0, 255).astype(np.uint8)
    noise = np.stack([_smooth(np.random.default_rng(100 * sample + 10 * job + c), 12) for c in range(6)])
    prediction = np.argmax(np.stack(fields) + 2.6 * (1 - quality) * noise, axis=0).astype(np.uint8)
    target[:6, -30:] = LABELS.fill
    Image.fromarray(overlay_strip(image, target, prediction, LABELS)).save(path)


def _smooth(rng: np.random.Generator, sigma: float) -> npt.NDArray[np.float32]:
    """(SIZE, SIZE) noise with unit deviation, smooth over ``sigma`` pixels."""
    field = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), sigma)
    return (field - field.mean()) / field.std()


@pytest.fixture(scope="session")
def sweep_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_sweep(tmp_path_factory.mktemp("sweep") / "2026-11-21_05-00-00")
