"""Read what runs and sweeps left on disk: finished, running, failed or not yet started.

Nothing here raises for a file that is missing or cut off in the middle of a line: a sweep is read while its jobs write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from perpixel.config import ConfigError, read_yaml
from perpixel.config.monitor import direction
from perpixel.tracking.files import is_in_use
from perpixel.uncertainty import Interval, PerImage, Slice, counts_file, read_counts, read_intervals

Status = Literal["pending", "running", "finished", "pruned", "interrupted", "failed"]

SWEEP_FILE = "sweep.json"


class ErrorPlaces(NamedTuple):
    """Where a run errs, see `perpixel.metrics.ErrorPlaces`.

    Attributes:
        distances: (distance from the true boundary, pixels, wrong pixels) from near to far.
        components: (size, in the truth, missed, in the prediction, invented) from small to large.
    """

    distances: tuple[tuple[str, int, int], ...]
    components: tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True)
class Run:
    """One training run as its directory tells it.

    Attributes:
        directory: where the run lives; a pending run's directory may not exist yet.
        name: the run's name, else its directory's.
        job: number within the sweep, None for a run on its own.
        status: "pending" until a manifest is written; "pruned" by a search, which saw that it would not win;
            "interrupted" runs can go on where they stopped.
        error: what a failed or interrupted run died of.
        overrides: the command-line overrides, ``key=value``.
        config: the resolved config as plain containers, empty where there is none yet.
        manifest: the manifest as written.
        history: one mapping per logged line, in order; values are numbers, None where one was not finite.
        classes: class names in index order, empty before the final scores exist.
        palette: one (R, G, B) per class.
        scores: per split ("val", "test") the final scores by metric name; None where a score is undefined.
        confusions: per split the confusion matrix, rows = truth, columns = prediction, in pixels.
        parts: per split of which only a part was scored, the labelled pixels that were counted, and those there are.
        baselines: per split the mIoU of guesses without a network (``majority``, ``colour_table``); empty for runs that
            did not measure them.
        intervals: per split the 95 % intervals of mIoU and each class's IoU; empty for runs that did not count images
            one by one.
        error_places: per split the errors by distance to the true boundary, and components missed and invented.
        slices: per split the scores by group, camera and the like, and by image size, worst first within each.
    """

    directory: Path
    name: str
    job: int | None = None
    status: Status = "pending"
    error: str | None = None
    overrides: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, float | None], ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    confusions: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    error_places: Mapping[str, ErrorPlaces] = field(default_factory=dict)

    def interval(self, split: str, metric: str = "mIoU") -> Interval | None:
        """The 95 % interval of a final score, which may say why it has no ends; None where images were not counted."""
        return self.intervals.get(split, {}).get(metric)

    @cached_property
    def images(self) -> dict[str, PerImage]:
        """Counts of every image by split, read when first asked for; empty where the run kept none."""
        return read_counts(self.images_file)

    @property
    def images_file(self) -> Path:
        """Where the counts of every image lie, if the run kept them."""
        return counts_file(self.directory / "metrics.json")

    def score(self, split: str, metric: str) -> float | None:
        """A final score, such as ``score("val", "mIoU")``; None where the run has none."""
        return self.scores.get(split, {}).get(metric)

    def not_above(self, split: str) -> tuple[str, ...]:
        """The baselines that the run's mIoU on a split is not above."""
        score = self.score(split, "mIoU")
        guesses = self.baselines.get(split, {})
        return tuple(name for name, guess in guesses.items() if score is None or score <= guess)

    def series(self, key: str) -> list[tuple[int, float]]:
        """(epoch, value) of a logged key, see ``series``."""
        return series(self.history, key)

    @cached_property
    def choices(self) -> dict[str, str]:
        """The overrides as key → value, without Hydra's ``+``, ``++`` and ``~`` signs."""
        pairs = (override.partition("=") for override in self.overrides)
        return {key.lstrip("+~").lstrip("/"): value for key, _, value in pairs}

    @property
    def part(self) -> str | None:
        """Of how much its scores are, where that is not the whole: ``val: 1,536 of 7,680 pixels``."""
        told = (f"{split}: {counted:,} of {there:,} pixels" for split, (counted, there) in self.parts.items())
        return "; ".join(told) or None

    @property
    def monitor(self) -> str:
        """The score that chose its best weights."""
        found = _mapping(_mapping(self.config.get("training")).get("checkpoint")).get("monitor")
        return found if isinstance(found, str) else "val/mIoU"

    @property
    def best_epoch(self) -> int | None:
        """The (first) epoch with a validation that has the best monitored score, counted as logged."""
        points = [(line, value) for line in self.history if (value := line.get(self.monitor)) is not None]
        choose = max if direction(self.monitor) == "max" else min
        return int(choose(points, key=lambda point: point[1])[0]["epoch"] or 0) if points else None

    @property
    def seconds(self) -> float | None:
        """Wall time of the finished run."""
        return _finite(self.manifest.get("duration_s"))

    @property
    def images_per_second(self) -> float | None:
        """Median training throughput over epochs: the first one, which warms up, does not weigh in."""
        speeds = sorted(value for _, value in self.series("train/images_per_s"))
        return speeds[len(speeds) // 2] if speeds else None

    @property
    def parameters(self) -> int | None:
        """Number of the model's parameters."""
        count = _finite(self.manifest.get("parameters"))
        return None if count is None else int(count)

    @property
    def macs(self) -> int | None:
        """Multiply–accumulates of the model on one val image."""
        count = _finite(_mapping(self.manifest.get("macs")).get("count"))
        return None if count is None else int(count)

    @property
    def overlays(self) -> dict[str, Path]:
        """Sample name → picture of its prediction."""
        return {path.stem: path for path in sorted((self.directory / "overlays").glob("*.png"))}


@dataclass(frozen=True)
class Sweep:
    """Runs that were started together, in job order.

    Attributes:
        directory: where the sweep lives.
        runs: its runs, those not yet started included.
        command: the command line that started it.
        started: when, ISO 8601.
    """

    directory: Path
    runs: tuple[Run, ...]
    command: tuple[str, ...] = ()
    started: str | None = None

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Keys of the overrides that are not the same in all runs, in the order they were first given."""
        keys = dict.fromkeys(key for run in self.runs for key in run.choices)
        return tuple(key for key in keys if len({run.choices.get(key) for run in self.runs}) > 1)

    def label(self, run: Run) -> str:
        """What sets the run apart, short: ``transposed · dice · lr=0.01``; its name where nothing does."""
        parts = [_short(axis, run.choices[axis]) for axis in self.axes if axis in run.choices]
        return " · ".join(parts) or run.name


def load_run(directory: Path) -> Run:
    """Read a run directory, whatever state it is in.

    Args:
        directory: the run's directory; one that does not exist reads as a pending run.
    """
    manifest, metrics = _json(directory / "manifest.json"), _json(directory / "metrics.json")
    return Run(
        directory=directory,
        name=str(manifest.get("name") or directory.name),
        job=manifest.get("job"),
        status=_status(manifest, directory),
        error=_error(manifest, directory),
        overrides=_overrides(directory / "overrides.yaml"),
        config={key: value for key, value in _mapping(_yaml(directory / "config.yaml")).items() if key != "format"},
        manifest=manifest,
        history=read_history(directory / "metrics.jsonl"),
        classes=tuple(metrics.get("classes", ())),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in metrics.get("palette", ())),
        scores={split: _scores(metrics[split]) for split in ("val", "test") if metrics.get(split)},
        confusions={split: found for split in ("val", "test") if (found := _confusion(metrics.get(split)))},
        parts={split: part for split in ("val", "test") if (part := _part(metrics.get(split)))},
        baselines=_baselines(metrics.get("baselines")),
        intervals={
            split: read_intervals(metrics[split].get("intervals")) for split in ("val", "test") if metrics.get(split)
        },
        error_places={split: where for split in ("val", "test") if (where := _error_places(metrics.get(split)))},
        slices={split: parts for split in ("val", "test") if (parts := _slices(metrics.get(split)))},
    )


def load_status(directory: Path) -> Status:
    """How far a run is, without reading what it scored."""
    return _status(_json(directory / "manifest.json"), directory)


def load_sweep(directory: Path) -> Sweep:
    """Read a sweep directory: ``sweep.json`` and the directories of its jobs.

    A directory of a single run (no ``sweep.json``) reads as a sweep of that run.
    """
    ledger = _json(directory / SWEEP_FILE)
    if not ledger:
        run = load_run(directory)
        return Sweep(directory, (run,), tuple(run.manifest.get("command", ())), run.manifest.get("started"))
    runs = tuple(_job(directory, job) for job in sorted(ledger.get("jobs", ()), key=lambda job: job["num"]))
    return Sweep(directory, runs, tuple(ledger.get("command", ())), ledger.get("started"))


def read_history(path: Path) -> tuple[dict[str, float | None], ...]:
    """The lines of a ``metrics.jsonl`` that are whole and hold an epoch; numbers only, None for what is not finite."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    records = (_parse(line) for line in lines)
    return tuple(
        {key: _finite(value) for key, value in record.items()}
        for record in records
        if _finite(record.get("epoch")) is not None
    )


def series(history: Iterable[Mapping[str, float | None]], key: str) -> list[tuple[int, float]]:
    """(epoch, value) of a logged key in epoch order; of several values in an epoch the last one counts."""
    points = {int(line["epoch"] or 0): value for line in history if (value := line.get(key)) is not None}
    return sorted(points.items())


def _job(directory: Path, job: Mapping[str, Any]) -> Run:
    """The ledger knows a job's number and overrides before its directory does."""
    run = load_run(directory / job["dir"])
    return replace(run, job=int(job["num"]), overrides=tuple(job.get("overrides", ())) or run.overrides)


def _status(manifest: Mapping[str, Any], directory: Path) -> Status:
    status = manifest.get("status")
    if status == "running" and _is_orphan(manifest, directory):
        return "interrupted"
    return cast(Status, status) if status in get_args(Status) else "pending"


def _error(manifest: Mapping[str, Any], directory: Path) -> str | None:
    if _is_orphan(manifest, directory):
        return f"its process died without a word (killed, or the machine went down); go on with resume={directory}"
    return manifest.get("error")


def _is_orphan(manifest: Mapping[str, Any], directory: Path) -> bool:
    """Whether a run calls itself running, but no process has its directory any more."""
    return manifest.get("status") == "running" and not is_in_use(directory)


def _overrides(path: Path) -> tuple[str, ...]:
    found = _yaml(path)
    return tuple(str(item) for item in found) if isinstance(found, list) else ()


def _scores(split: Mapping[str, Any]) -> dict[str, float | None]:
    """The split's numbers, without the lists that stand beside them (absent classes, confusion matrix)."""
    return {key: _finite(value) for key, value in split.items() if value is None or isinstance(value, int | float)}


def _baselines(found: object) -> dict[str, dict[str, float]]:
    """mIoU by split and guess."""
    by_split = {split: _mapping(guesses) for split, guesses in _mapping(found).items()}
    scored = {
        split: {name: _finite(_mapping(values).get("mIoU")) for name, values in guesses.items()}
        for split, guesses in by_split.items()
    }
    return {
        split: {name: score for name, score in guesses.items() if score is not None}
        for split, guesses in scored.items()
    }


def _error_places(split: Mapping[str, Any] | None) -> ErrorPlaces | None:
    near, parts = (_mapping((split or {}).get(key)) for key in ("errors_by_distance", "components"))
    try:
        distances = zip(near["distance"], near["pixels"], near["wrong"], strict=True)
        columns = (parts[key] for key in ("size", "truth", "missed", "predicted", "invented"))
        return ErrorPlaces(
            tuple((str(name), int(pixels), int(wrong)) for name, pixels, wrong in distances),
            tuple((str(row[0]), *map(int, row[1:])) for row in zip(*columns, strict=True)),  # type: ignore[misc]
        )
    except (KeyError, TypeError, ValueError):
        return None


def _slices(split: Mapping[str, Any] | None) -> tuple[Slice, ...]:
    found = (split or {}).get("slices")
    read = [Slice.read(one) for one in found] if isinstance(found, list) else []
    return tuple(one for one in read if one is not None)


def _confusion(split: Mapping[str, Any] | None) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in (split or {}).get("confusion") or ())


def _part(split: Mapping[str, Any] | None) -> tuple[int, int] | None:
    part = _mapping((split or {}).get("part"))
    counted, there = (_finite(part.get(name)) for name in ("pixels", "of"))
    return None if counted is None or there is None else (int(counted), int(there))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _short(key: str, value: str) -> str:
    """A choice of a group speaks for itself (``dice``); a number or a nested key needs its name (``lr=0.01``)."""
    is_choice = "." not in key and not _is_number(value) and value.lower() not in ("true", "false", "null", "")
    return value if is_choice else f"{key.rpartition('.')[2]}={value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def _parse(text: str) -> dict[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (json.JSONDecodeError, RecursionError):
        return {}


def _yaml(path: Path) -> object:
    try:
        return read_yaml(path)
    except (OSError, ConfigError):
        return None


def _mapping(found: object) -> dict[str, Any]:
    return dict(cast(Iterable[tuple[str, Any]], found.items())) if isinstance(found, dict) else {}
