"""The sweep's results as tables: ``leaderboard.csv`` for programs, ``leaderboard.md`` for people."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perpixel.tracking import certainty
from perpixel.tracking.certainty import (
    CACHE_FILE,
    Against,
    Cache,
    against_first,
    group_intervals,
    groups_against_first,
    plus_minus,
)
from perpixel.tracking.code import code_digest
from perpixel.tracking.files import locked, write_atomically
from perpixel.tracking.runs import Run, Status, Sweep, load_sweep
from perpixel.uncertainty import Contrast

SEED = "seed"
PART = "scored in part"
PARTS_NOTE = (
    "Scores of a part of a split (trainer.limit_val_batches, limit_test_batches, fast_dev_run) do not compare with "
    "those of the whole: evaluate run=… scores all of it."
)
STALE = "code"
AGAINST = "against the first"
AGAINST_NOTE = (
    "Against the first: paired permutation test of val mIoU on the same images, p raised by Holm's rule. The first was "
    "chosen by these images."
)
SEEDS_NOTE = "Mean ± sample standard deviation of the n finished runs."
_FINAL = ("mBoundaryIoU", "mThinRecall", "mSmallObjectRecall", "ECE")  # in the CSV; the page for people stays narrow
_BASELINES = [(split, name) for split in ("val", "test") for name in ("majority", "colour_table")]
_ORDER: dict[Status, int] = {"finished": 0, "running": 1, "pending": 2, "interrupted": 3, "pruned": 4, "failed": 5}


@dataclass(frozen=True)
class Standing:
    """A run and its place.

    Attributes:
        rank: 1 for the highest val mIoU; None for a run that has not finished or has no such score.
        run: the run.
    """

    rank: int | None
    run: Run


@dataclass(frozen=True)
class Spread:
    """One score over the seeds of a configuration.

    Attributes:
        n: number of finished runs that have the score.
        mean: their mean, None for n = 0.
        std: their sample standard deviation (n - 1 in the denominator), None for n < 2.
    """

    n: int
    mean: float | None
    std: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """The spread of the values that are not None."""
        known = [value for value in values if value is not None]
        mean = statistics.fmean(known) if known else None
        return cls(len(known), mean, statistics.stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True)
class SeedGroup:
    """The runs that differ in nothing but their seed.

    Attributes:
        choices: the value of each other axis of the sweep.
        runs: how many runs were asked for, whatever became of them.
        val: val mIoU over the seeds.
        test: test mIoU over the seeds.
        finished: those that have finished.
        val_interval, test_interval: of the mean, sure over seeds and images; None where images were not counted.
        against: the mean val mIoU held against the first configuration's; None for the first, and without counts.
    """

    choices: dict[str, str]
    runs: int
    val: Spread
    test: Spread
    finished: tuple[Run, ...] = ()
    val_interval: Contrast | None = None
    test_interval: Contrast | None = None
    against: Against | None = None


def standings(sweep: Sweep) -> tuple[Standing, ...]:
    """All runs: finished ones by falling val mIoU, then running, pending, interrupted and failed ones in job order.

    The test score never ranks: choosing a run by it would make it a second validation split.
    """
    placed = sorted(sweep.runs, key=lambda run: (_ORDER[run.status], -_val(run), run.job or 0))
    return tuple(
        Standing(place if run.status == "finished" and run.score("val", "mIoU") is not None else None, run)
        for place, run in enumerate(placed, start=1)
    )


def seed_groups(sweep: Sweep) -> tuple[SeedGroup, ...]:
    """The sweep's configurations with their spread over seeds, best mean first; empty where ``seed`` does not vary."""
    if SEED not in sweep.axes:
        return ()
    others = [axis for axis in sweep.axes if axis != SEED]
    members: dict[tuple[str, ...], list[Run]] = {}
    for run in sweep.runs:
        members.setdefault(tuple(run.choices.get(axis, "") for axis in others), []).append(run)
    groups = (_seed_group(dict(zip(others, values, strict=True)), runs) for values, runs in members.items())
    return tuple(sorted(groups, key=lambda group: -1.0 if group.val.mean is None else group.val.mean, reverse=True))


def sure_seed_groups(sweep: Sweep, cache: Cache) -> tuple[SeedGroup, ...]:
    """`seed_groups` with intervals over seeds and images, and each held against the first."""
    groups = seed_groups(sweep)
    members = [group.finished for group in groups]
    found = zip(
        groups,
        group_intervals(members, "val", cache),
        group_intervals(members, "test", cache),
        groups_against_first(members, cache),
        strict=True,
    )
    return tuple(
        replace(group, val_interval=val, test_interval=test, against=against) for group, val, test, against in found
    )


def runs_against_first(sweep: Sweep, cache: Cache) -> dict[Path, Against]:
    """The ranked runs of a sweep held against the first."""
    return against_first([place.run for place in standings(sweep) if place.rank is not None], cache)


def order_note(sweep: Sweep) -> str:
    """Said where a sweep cannot tell its configurations apart from their seeds; empty for one run."""
    finished = sum(run.status == "finished" and run.score("val", "mIoU") is not None for run in sweep.runs)
    if finished < 2 or any(group.val.n > 1 for group in seed_groups(sweep)):
        return ""
    return (
        "One seed per configuration: the order of these runs is not established, another seed may reverse it. Add "
        "seed=0,1,2 to the sweep to see how much of a difference is chance."
    )


def write_leaderboard(sweep_dir: Path) -> None:
    """Rewrite ``leaderboard.csv`` and ``leaderboard.md`` of a sweep from what its jobs have written so far.

    Where ``seed`` is an axis, ``leaderboard_seeds.csv`` and a second table in the Markdown file hold mean ± std over
    seeds. Intervals are those that each run keeps; tests between runs are kept in ``comparisons.json``. Safe to call
    from several processes at once.
    """
    with locked(sweep_dir):
        sweep, cache = load_sweep(sweep_dir), Cache(sweep_dir / CACHE_FILE)
        against, groups = runs_against_first(sweep, cache), sure_seed_groups(sweep, cache)
        cache.save()
        write_atomically(sweep_dir / "leaderboard.csv", _csv(_rows(sweep, against)))
        write_atomically(sweep_dir / "leaderboard.md", _markdown(sweep, against, groups))
        if groups:
            write_atomically(sweep_dir / "leaderboard_seeds.csv", _csv([_seed_row(group) for group in groups]))


def _val(run: Run) -> float:
    """The key that ranks; only a finished run has earned one."""
    score = run.score("val", "mIoU") if run.status == "finished" else None
    return -1.0 if score is None else score


def _seed_group(choices: dict[str, str], runs: Sequence[Run]) -> SeedGroup:
    finished = tuple(run for run in runs if run.status == "finished")
    val, test = (Spread.of(run.score(split, "mIoU") for run in finished) for split in ("val", "test"))
    return SeedGroup(choices, len(runs), val, test, finished)


def _rows(sweep: Sweep, against: Mapping[Path, Against]) -> list[dict[str, object]]:
    """One mapping per run, full precision; None becomes an empty cell."""
    classes = tuple(dict.fromkeys(name for run in sweep.runs for name in run.classes))
    rows = [_row(place, sweep.axes, classes, against.get(place.run.directory)) for place in standings(sweep)]
    marks = {key: any(row[key] for row in rows) for key in (PART, STALE, AGAINST)}
    counted = any(run.intervals for run in sweep.runs)
    marks |= {f"{split} mIoU {end}": counted for split in ("val", "test") for end in ("low", "high")}
    return [{key: value for key, value in row.items() if marks.get(key, True)} for row in rows]


def _row(place: Standing, axes: Sequence[str], classes: Sequence[str], against: Against | None) -> dict[str, object]:
    run = place.run
    ends = {
        f"{split} mIoU {end}": getattr(run.interval(split), end, None)
        for split in ("val", "test")
        for end in ("low", "high")
    }
    return {
        "rank": place.rank,
        "run": run.name,
        **{axis: run.choices.get(axis) for axis in axes},
        "status": run.status,
        STALE: _stale(run),
        "val mIoU": run.score("val", "mIoU"),
        "test mIoU": run.score("test", "mIoU"),
        **ends,
        AGAINST: against.words if against else None,
        PART: run.part,
        "val pixel_accuracy": run.score("val", "pixel_accuracy"),
        **{f"{split} {name}": run.baselines.get(split, {}).get(name) for split, name in _BASELINES},
        "above both": _above(run),
        **{f"val {name}": run.score("val", name) for name in _FINAL},
        **{f"val IoU/{name}": run.score("val", f"IoU/{name}") for name in classes},
        "train seconds": run.seconds,
        "images/s": run.images_per_second,
        "parameters": run.parameters,
        "best epoch": run.best_epoch,
        "error": run.error,
    }


def _stale(run: Run) -> str | None:
    """By which code a run was trained, where that is not this; its numbers need not compare."""
    code = run.manifest.get("code")
    return f"other ({code})" if code not in (None, code_digest()) else None


def _above(run: Run) -> str | None:
    """Whether a run is above the guesses that need no network, on every split; None where they were not measured."""
    if not run.baselines or not run.scores:
        return None
    below = [split for split in run.scores if run.not_above(split)]
    return "yes" if not below else f"not on {' and '.join(below)}"


def _told_baselines(sweep: Sweep) -> str:
    """One line where all runs were held against the same guesses, as runs on the same data are."""
    known = [run.baselines for run in sweep.runs if run.baselines]
    if not known or any(one != known[0] for one in known):
        return ""
    parts = [
        f"{split}: " + ", ".join(f"{name.replace('_', ' ')} {score:.3f}" for name, score in guesses.items())
        for split, guesses in known[0].items()
    ]
    return f"Without any network, mIoU on {'; on '.join(parts)}. A model that is not above both is of no use."


def _seed_row(group: SeedGroup) -> dict[str, object]:
    scores = {
        f"{split} mIoU {name}": value
        for split, spread in (("val", group.val), ("test", group.test))
        for name, value in (("mean", spread.mean), ("std", spread.std))
    }
    sure = {
        f"{split} mIoU {end}": getattr(interval, end)
        for split, interval in (("val", group.val_interval), ("test", group.test_interval))
        if interval
        for end in ("low", "high")
    }
    against = {AGAINST: group.against.words} if group.against else {}
    return {**group.choices, "runs": group.runs, "n": group.val.n, **scores, **sure, **against}


def _csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(sweep: Sweep, against: Mapping[Path, Against], groups: Sequence[SeedGroup]) -> str:
    counts = {status: sum(run.status == status for run in sweep.runs) for status in _ORDER}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    told = f"{len(sweep.runs)} runs: {summary}. Ranked by val mIoU."
    parts = ["# Leaderboard", f"{told} {_told_baselines(sweep)}".strip(), order_note(sweep)]
    parts += [_markdown_runs(sweep, against), " ".join(interval_notes(sweep.runs, against))]
    if any(run.part for run in sweep.runs):
        parts.append(PARTS_NOTE)
    if groups:
        parts += ["## Over seeds", f"{SEEDS_NOTE} {seeds_interval_note(groups)}".strip(), _markdown_seeds(groups)]
    parts = [part for part in parts if part]
    return "\n\n".join(parts) + "\n"


def interval_notes(runs: Sequence[Run], against: Mapping[Path, Against]) -> list[str]:
    """What ± and the tests of a table are."""
    return [
        *certainty.interval_notes(runs),
        *([AGAINST_NOTE] if any(one.p is not None for one in against.values()) else []),
    ]


def seeds_interval_note(groups: Sequence[SeedGroup]) -> str:
    """What the intervals of the table over seeds are; empty where it has none."""
    known = [group.val_interval for group in groups if group.val_interval]
    if not known:
        return ""
    if why := next((one.why for one in known if one.why), ""):
        return f"{why[:1].upper()}{why[1:]}."
    return f"The interval of the mean: 95 %, over seeds and the val split's {known[0].units} {known[0].units_are}."


def _markdown_runs(sweep: Sweep, against: Mapping[Path, Against]) -> str:
    hidden = {f"val IoU/{name}" for run in sweep.runs for name in run.classes} | {f"val {name}" for name in _FINAL}
    hidden |= {f"{split} {name}" for split, name in _BASELINES}
    hidden |= {f"{split} mIoU {end}" for split in ("val", "test") for end in ("low", "high")}
    if not any(run.baselines for run in sweep.runs):
        hidden.add("above both")
    rows = [{key: value for key, value in row.items() if key not in hidden} for row in _rows(sweep, against)]
    texts = [{key: _for_reading(key, value) for key, value in row.items()} for row in rows]
    for text, place in zip(texts, standings(sweep), strict=True):
        text |= {
            f"{split} mIoU": plus_minus(place.run.score(split, "mIoU"), place.run.interval(split))
            for split in ("val", "test")
        }
    return _markdown_table(texts)


def _markdown_seeds(groups: Sequence[SeedGroup]) -> str:
    return _markdown_table(
        [
            {**group.choices, "n": f"{group.val.n} of {group.runs}", "val mIoU": _plus_minus(group.val)}
            | {"test mIoU": _plus_minus(group.test)}
            | _sure(group, groups)
            for group in groups
        ]
    )


def _sure(group: SeedGroup, groups: Sequence[SeedGroup]) -> dict[str, str]:
    """Interval of the mean and what it is against the first, where any group has them."""
    if not any(one.val_interval for one in groups):
        return {}
    found = group.val_interval
    ends = f"{found.low:.3f} … {found.high:.3f}" if found and found.low is not None and found.high is not None else ""
    return {"interval of val": ends, AGAINST: group.against.words if group.against else ""}


def _markdown_table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return "No runs."
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _for_reading(key: str, value: object) -> str:
    """A value in the precision that people compare by."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}" if key in ("train seconds", "images/s") else f"{value:.3f}"
    if key == "error":
        return str(value).strip().partition("\n")[0][:200]
    return f"{value:,}" if key == "parameters" else str(value)


def _plus_minus(spread: Spread) -> str:
    if spread.mean is None:
        return ""
    return f"{spread.mean:.3f}" + (f" ± {spread.std:.3f}" if spread.std is not None else "")


def _cell(text: str) -> str:
    """Text that can neither break the table nor become markup."""
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " ")):
        text = text.replace(sign, safe)
    return text
