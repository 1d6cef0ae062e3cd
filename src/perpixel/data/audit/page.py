"""The audit's page and its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from perpixel.augment.alignment import prove_alignment
from perpixel.augment.recipe import Recipe
from perpixel.data.audit.collect import collect
from perpixel.data.audit.examples import examples
from perpixel.data.audit.sample import Fault, SampleFacts
from perpixel.data.audit.summary import advice, summary
from perpixel.data.base import DataSource
from perpixel.data.leaks import find_leaks

MOST_LISTED = 200
"""Faults and leaks that the page lists; the JSON holds all."""


def write_audit(
    source: DataSource, recipe: Recipe, directory: Path, workers: int | None = None, progress: bool = True
) -> dict[str, Any]:
    """Look at all data, and write ``audit.html`` (self-contained) and ``audit.json``.

    Args:
        source: the data.
        recipe: the augmentation, whose alignment is proved.
        directory: where the two files go.
        workers: processes; None uses every core, 0 this process.
        progress: whether to show a bar.

    Returns:
        What ``audit.json`` holds.

    Raises:
        ValueError: not a single sample can be read; names the first reason. Or the recipe cannot take the channels.
    """
    recipe.check_channels(source.channels)
    found = list(collect(source, workers, progress))
    facts = [one for one in found if isinstance(one, SampleFacts)]
    faults = [one for one in found if isinstance(one, Fault)]
    if not facts:
        raise ValueError(f"none of the {len(found)} samples can be read. The first: {faults[0].reason}")
    content = _content(source, recipe, facts, faults)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "audit.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    handbook = [examples(source, facts, index) for index in range(source.labels.num_classes)]
    page = (
        _environment()
        .get_template("audit.html.jinja")
        .render(**content, handbook=handbook, most=MOST_LISTED, weighted="weight" in source.extras)
    )
    (directory / "audit.html").write_text(page, encoding="utf-8")
    return content


def _content(source: DataSource, recipe: Recipe, facts: list[SampleFacts], faults: list[Fault]) -> dict[str, Any]:
    tables = summary(facts, source.labels)
    report = prove_alignment(recipe, source.channels)
    return {
        "source": type(source).__name__,
        **tables,
        "rules": dict(source.rules),
        "faults": [{"split": fault.split, "reason": fault.reason} for fault in faults],
        "quarantined": list(source.quarantined),
        "leaks": [
            {"kind": leak.kind, "first": list(leak.first), "second": list(leak.second), "pairs": leak.pairs}
            for leak in find_leaks(source, [fact.identity for fact in facts])
        ],
        "advice": advice(tables["classes"]),
        "alignment": {
            "recipe": type(recipe).__name__,
            "aligned": report.aligned,
            "says": str(report),
            "mean": list(report.mean),
            "worst": report.worst,
            "alien": {str(value): pixels for value, pixels in report.alien.items()},
            "torn": report.torn,
        },
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.globals |= {"power": "2^{}".format, "tenth": lambda index: f"{index / 10:.1f}–{(index + 1) / 10:.1f}"}
    return environment


def _percent(share: float) -> str:
    if share == 0:
        return "–"
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else f"{share:.3%}"
