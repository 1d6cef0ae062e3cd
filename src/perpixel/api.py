"""perpixel in Python: ``perpixel.train(["loss=dice"])`` and ``perpixel.load("runs/…").predict("photo.jpg")``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from perpixel.config import compose, resume_directory
from perpixel.config.quoting import checked_overrides
from perpixel.config.texts import is_text_in, quoted_texts

if TYPE_CHECKING:
    from perpixel.bundle import Predictor
    from perpixel.inference.refine import Refinement


@dataclass(frozen=True)
class TrainResult:
    """What a training left.

    Attributes:
        directory: the run directory.
        scores: by split (``val``, ``test``) and name (``mIoU``, ``IoU/<class>``, …); None where undefined.
    """

    directory: Path
    scores: dict[str, dict[str, float | None]]


def train(overrides: Sequence[str] = ()) -> TrainResult:
    """Train one run, as ``python src/train.py`` does with the same overrides.

    Args:
        overrides: ``group=choice`` and ``key=value``; ``hydra.run.dir=…`` names the run directory, ``resume=…`` one
            to go on with.

    Raises:
        ConfigError: the configuration has faults, or ``overrides`` is no list of texts; nothing was started.
    """
    overrides = checked_overrides(overrides)
    resumed = resume_directory(overrides)
    job = None if resumed else compose(overrides)
    from perpixel.tracking.runs import load_run
    from perpixel.workflows.assembly import check_nodes
    from perpixel.workflows.job import resume_job, run_job, write_results

    if job is None:
        assert resumed is not None
        directory, start = resumed, resume_job(resumed, overrides)
    else:
        job = compose(quoted_texts(overrides, is_text_in(job.cfg)))
        check_nodes(job.cfg)
        directory = job.run_dir.resolve()
        start = partial(run_job, job.cfg, directory, job.overrides, sweep=None, job=None)
    try:
        start()
    finally:
        write_results(directory)
    scores = {split: dict(found) for split, found in load_run(directory).scores.items()}
    return TrainResult(directory, scores)


def load(
    path: str | Path | Sequence[str | Path],
    device: str = "auto",
    backend: str = "auto",
    window: int | None = None,
    tta: Sequence[str | float] = (),
    refine: Refinement | None = None,
) -> Predictor:
    """Load a trained model, ready to predict.

    Args:
        path: a run directory, its ``model/`` folder or a copy of that folder, or what ``export`` wrote (the folder or
            its model file); a list of them gives an ensemble, which averages their probabilities (of seeds or folds).
        device: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` takes a GPU if there is one.
        backend: what runs it: ``torch`` (bundles, ``.pt2``), ``onnxruntime`` or ``openvino`` (ONNX), ``openvino`` (IR);
            ``auto`` takes the first of them that fits the format.
        window: side of the windows through which images are seen, pixels; None shows them whole to the network.
        tta: views whose probabilities are averaged, from ``hflip``, ``vflip``, ``rot90`` and scales, as
            ``["hflip", 0.75, 1.25]``.
        refine: what follows the prediction, as ``Refinement(small=64)`` (:mod:`perpixel.inference.refine`).

    Raises:
        ValueError: there is no model at the path, it is damaged or of another format, or the models of a list differ
            in classes, channels or depth of their images.

    Example:
        >>> model = perpixel.load("runs/2026-01-01/12-00-00-000000_default")
        >>> prediction = model.predict("photo.jpg")
        >>> prediction.save("photo_mask.png")
    """
    from perpixel.workflows.load import load_predictor

    paths = [path] if isinstance(path, str | Path) else list(path)
    return load_predictor([Path(one) for one in paths], device, backend=backend, window=window, tta=tta, refine=refine)
