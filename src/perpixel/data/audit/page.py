"""The audit's page and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from perpixel._version import __version__
from perpixel.augment.alignment import prove_alignment
from perpixel.augment.recipe import Recipe
from perpixel.data.audit.charts import by_power, by_tenth
from perpixel.data.audit.collect import collect
from perpixel.data.audit.examples import examples, side_by_side
from perpixel.data.audit.preflight import refused
from perpixel.data.audit.sample import Fault, SampleFacts
from perpixel.data.audit.summary import advice, summary
from perpixel.data.base import NOTHING, DataSource, Split
from perpixel.data.checks.leaks import Leak, crowds, find_leaks

MOST_LISTED = 200
"""Faults and leaks that the page lists; the JSON holds all."""

MOST_SHOWN = 6
"""Near leaks whose pictures the page shows."""

MOST_DRAWN = 40
"""Groups whose brightness the page draws."""


def write_audit(
    source: DataSource,
    recipe: Recipe,
    directory: Path,
    workers: int | None = None,
    progress: bool = True,
    about: Mapping[str, str] = NOTHING,
) -> dict[str, Any]:
    """Look at all data, and write ``audit.html`` (self-contained) and ``audit.json``.

    Args:
        source: the data.
        recipe: the augmentation, whose alignment is proved.
        directory: where the two files go.
        workers: processes; None uses every core, 0 this process.
        progress: whether to show a bar.
        about: what else the page's head says, by name: the data's root, the command.

    Returns:
        What ``audit.json`` holds.

    Raises:
        ValueError: not a single sample can be read; the page is written all the same, and named with the first reason.
            Or the recipe cannot take the channels.
    """
    recipe.check_channels(source.channels)
    before = refused(source, progress)
    found = list(collect(source, workers, progress))
    facts, faults = _sorted_out(found, before)
    leaks = find_leaks(source, [one.identity for one in found if one.identity is not None])
    content = _content(source, recipe, facts, faults, leaks) | {"about": _about(source, about)}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "audit.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    near = [leak for leak in leaks if leak.kind == "near"][:MOST_SHOWN]
    page = (
        _environment()
        .get_template("audit.html.jinja")
        .render(
            **content,
            handbook=[examples(source, facts, index) for index in range(source.labels.num_classes)],
            alike=[pair for pair in side_by_side(source, facts, near) if pair],
            most=MOST_LISTED,
            most_drawn=MOST_DRAWN,
            weighted="weight" in source.extras,
            area_bins=_used([row["areas"] for row in content["classes"]]),
            thickness_bins=_used([row["thicknesses"] for row in content["classes"]]),
        )
    )
    (directory / "audit.html").write_text(page, encoding="utf-8")
    if not facts:
        raise ValueError(
            f"none of the {len(found)} samples can be read: see {directory / 'audit.html'}. The first: "
            f"{faults[0].reason if faults else 'there are none'}"
        )
    return content


def _sorted_out(found: Sequence[SampleFacts | Fault], before: Sequence[Fault]) -> tuple[list[SampleFacts], list[Fault]]:
    """What the tables count, and all faults: what training refuses, and what could not be read here besides."""
    at_fault = {(fault.split, fault.index) for fault in before}
    facts = [one for one in found if isinstance(one, SampleFacts) and (one.split, one.index) not in at_fault]
    unread = [one for one in found if isinstance(one, Fault) and (one.split, one.index) not in at_fault]
    return facts, [*before, *unread]


def _content(
    source: DataSource, recipe: Recipe, facts: list[SampleFacts], faults: list[Fault], leaks: list[Leak]
) -> dict[str, Any]:
    tables = summary(facts, source.labels)
    report = prove_alignment(recipe, source.channels)
    return {
        "source": type(source).__name__,
        **tables,
        "rules": dict(source.rules),
        "faults": [{"split": fault.split, "reason": fault.reason} for fault in faults],
        "quarantined": list(source.quarantined),
        "unused": [one._asdict() for one in source.unused],
        "leaks": [
            {"kind": leak.kind, "first": list(leak.first), "second": list(leak.second), "pairs": leak.pairs}
            for leak in leaks
        ],
        "crowds": crowds(leaks, {name: len(source.split(name)) for name in source.splits}),
        "advice": advice(tables["classes"]),
        "alignment": {
            "recipe": type(recipe).__name__,
            "proved": report.proved,
            "aligned": report.aligned,
            "says": str(report),
            "worst": report.worst,
            "coloured": report.coloured,
            "mean": list(report.mean),
            "drift": report.drift,
            "alien": {str(value): pixels for value, pixels in report.alien.items()},
            "torn": report.torn,
        },
    }


def _about(source: DataSource, about: Mapping[str, str]) -> dict[str, str]:
    """What a page needs to be known by, later: when, with what, of what."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    hashes = {f"hash of {name}": _hash(source.split(name)) for name in source.splits}
    return {**about, "made": made, "perpixel": __version__, **hashes}


def _hash(split: Split) -> str:
    try:
        return split.fingerprint()
    except (ValueError, OSError):
        return "none: a file cannot be read"


def _used(counts: Sequence[Sequence[int]]) -> int:
    """How many bins any class fills, at least eight: one axis for all."""
    return max([8, *(1 + at for row in counts for at, count in enumerate(row) if count)])


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.globals |= {"by_power": by_power, "by_tenth": by_tenth}
    return environment


def _percent(share: float) -> str:
    if share == 0:
        return "–"
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else f"{share:.3%}"
