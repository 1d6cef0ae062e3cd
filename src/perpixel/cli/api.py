"""The same in a notebook: ``perpixel.train(["loss=dice"])``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perpixel.config import compose, resume_directory
from perpixel.config.quoting import checked_overrides


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
    from perpixel.cli.experiment import check_nodes
    from perpixel.cli.job import resume_job, run_job, write_results
    from perpixel.tracking.runs import load_run

    if job is None:
        assert resumed is not None
        directory, start = resumed, resume_job(resumed, overrides)
    else:
        check_nodes(job.cfg)
        directory = job.run_dir.resolve()
        start = partial(run_job, job.cfg, directory, job.overrides, sweep=None, job=None)
    try:
        start()
    finally:
        write_results(directory)
    scores = {split: dict(found) for split, found in load_run(directory).scores.items()}
    return TrainResult(directory, scores)
