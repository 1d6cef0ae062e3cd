"""What a job is worth to whoever searches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perpixel.tracking.runs import Run, load_run


def monitored_score(run: Path) -> float:
    """The score that chose a run's best weights (``training.checkpoint.monitor``): of the whole validation split with
    those weights, else the best of its validations; NaN where there is none.
    """
    found = load_run(run)
    checkpoint = _checkpoint(found.config)
    monitor = str(checkpoint.get("monitor", "val/mIoU"))
    split, _, name = monitor.partition("/")
    final = found.score(split, name)
    if final is not None:
        return final
    best = min if direction(found.config) == "minimize" else max
    return best((value for _, value in found.series(monitor)), default=math.nan)


def direction(config: Mapping[str, Any]) -> str:
    """``maximize`` or ``minimize``, as Optuna calls it."""
    checkpoint = _checkpoint(config)
    mode = checkpoint.get("mode") or ("min" if str(checkpoint.get("monitor")) == "val/loss" else "max")
    return "minimize" if mode == "min" else "maximize"


def objective(run: Run, name: str) -> float:
    """A value of a finished run to search by: ``val/<score>``, ``parameters``, ``seconds`` or ``images_per_second``."""
    split, _, score = name.partition("/")
    value = run.score(split, score) if score else getattr(run, name)
    return math.nan if value is None else float(value)


def _checkpoint(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (config.get("training") or {}).get("checkpoint") or {}
    return found if isinstance(found, Mapping) else {}
