"""The page that compares any runs: a table with intervals, effects and interactions, cost, and the fronts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpixel.reporting import curves
from perpixel.reporting.cells import Cells, Effect, Row, front
from perpixel.reporting.environment import environment
from perpixel.tracking.files import write_atomically
from perpixel.tracking.runs import Run
from perpixel.uncertainty import ALPHA

LABEL, PLOT, LINE, FOOT = 400, 420, 26, 30
"""Widths of names and plot, height of a line and of the axis of the picture of effects, in SVG units."""

COSTS = (
    ("macs", "multiply–accumulates of a val image (10⁹)", True, 1e9),
    ("parameters", "parameters (10⁶)", True, 1e6),
    ("seconds", "training time (min)", True, 60.0),
    ("images_per_second", "images/s in training", False, 1.0),
)
"""Attribute of a run, its name, whether less of it is better, and its unit."""


@dataclass(frozen=True)
class Whisker:
    """An effect as a dot with its interval: places in SVG units."""

    effect: Effect
    y: float
    dot: float
    low: float
    high: float


@dataclass(frozen=True)
class Forest:
    """Effects below each other over one axis."""

    whiskers: tuple[Whisker, ...]
    ticks: tuple[curves.Tick, ...]
    zero: float
    height: float


@dataclass(frozen=True)
class Dot:
    """A row of the table in a picture of cost and score; ``top``, ``bottom`` are the ends of its interval."""

    place: int
    x: float
    y: float
    top: float
    bottom: float
    on_front: bool
    text: str


@dataclass(frozen=True)
class Scatter:
    """Score against one cost; ``path`` is the front."""

    title: str
    dots: tuple[Dot, ...]
    x_ticks: tuple[curves.Tick, ...]
    y_ticks: tuple[curves.Tick, ...]
    path: str


def write_comparison(path: Path, cells: Cells, command: Sequence[str], left_out: Sequence[Run]) -> list[str]:
    """Write the page, and return its findings in words.

    Args:
        path: of the HTML; its directory exists.
        cells: the runs.
        command: that asked for it.
        left_out: runs that were found and have no val score.
    """
    rows, effects, interactions = cells.rows(), cells.effects(), cells.interactions()
    told = summary(rows, effects, interactions)
    content: dict[str, Any] = {
        "cells": cells,
        "rows": rows,
        "effects": effects,
        "interactions": interactions,
        "forest": forest(effects),
        "interaction_forest": forest(interactions),
        "scatters": [found for cost in COSTS if (found := scatter(rows, *cost))],
        "notes": notes(cells, rows),
        "summary": told,
        "frame": curves,
        "forest_frame": {"label": LABEL, "plot": PLOT, "line": LINE, "foot": FOOT},
        "command": command,
        "left_out": left_out,
        "macs_sizes": dict.fromkeys(str(run.manifest["macs"]["size"]) for run in cells.runs if run.macs),
    }
    write_atomically(path, environment().get_template("comparison.html.jinja").render(content))
    return told


def notes(cells: Cells, rows: Sequence[Row]) -> list[str]:
    """What the intervals are over, and what they are not."""
    found = next((row.val for row in rows if row.val is not None), None)
    if found is None:
        return []
    if found.why:
        return [f"{found.why[:1].upper()}{found.why[1:]}."]
    over = f"the val split's {found.units} {found.units_are}"
    if cells.over_seeds:
        return [f"Intervals: 95 %, over seeds and {over}. The spread between seeds is pooled over all configurations."]
    return [
        f"Intervals: 95 %, over {over}, not over seeds: each configuration was trained once, and another seed may "
        "reverse the order and every effect. Add seed=0,1,2."
    ]


def summary(rows: Sequence[Row], effects: Sequence[Effect], interactions: Sequence[Effect]) -> list[str]:
    """The findings in words, each from the tables below."""
    told = []
    if rows and rows[0].val is not None:
        told.append(f"Highest mean val mIoU: {rows[0].val.value:.3f}, {' · '.join(rows[0].levels)}.{_alike(rows[1:])}")
    for kind, found in (("effect", effects), ("interaction", interactions)):
        tested = [one for one in found if one.contrast.p is not None]
        shown = [one for one in tested if one.shown]
        if shown:
            told += [f"{one.name}: {one.contrast.value:+.3f} ({_ends(one)})." for one in shown[:5]]
        elif tested:
            told.append(f"No {kind} is shown: what the runs have is compatible with none.")
    return told


def _alike(rows: Sequence[Row]) -> str:
    """How many rows are not told apart from the first."""
    tested = [row.against.p for row in rows if row.against is not None and row.against.p is not None]
    alike = sum(p >= ALPHA for p in tested)
    if not tested or not alike:
        return ""
    return f" No difference is shown between it and {f'{alike} other' if alike == 1 else f'{alike} others'}."


def _ends(effect: Effect) -> str:
    return f"{effect.contrast.low:+.3f} … {effect.contrast.high:+.3f}"


def forest(effects: Sequence[Effect]) -> Forest | None:
    """Lay out the effects that have an interval."""
    known = [one for one in effects if one.contrast.low is not None and one.contrast.high is not None]
    if not known:
        return None
    ends = [end for one in known for end in (one.contrast.low, one.contrast.high, 0.0) if end is not None]
    axis = curves.Axis(ends, LABEL, LABEL + PLOT, integer=False)
    whiskers = tuple(
        Whisker(
            one,
            LINE * (place + 0.5),
            axis(one.contrast.value),
            axis(one.contrast.low or 0.0),
            axis(one.contrast.high or 0.0),
        )
        for place, one in enumerate(known)
    )
    return Forest(whiskers, axis.ticks, axis(0.0), LINE * len(known))


def scatter(rows: Sequence[Row], fact: str, title: str, cheap_is_low: bool, unit: float) -> Scatter | None:
    """Lay out score against a cost; None where fewer than two rows have both, or all cost the same."""
    known = [
        (place, cost / unit, row.val)
        for place, row in enumerate(rows)
        if row.val is not None and (cost := row.mean(fact)) is not None
    ]
    if len({cost for _, cost, _ in known}) < 2:
        return None
    ends = [end for _, _, val in known for end in (val.low, val.value, val.high) if end is not None]
    x = curves.Axis([cost for _, cost, _ in known], curves.LEFT, curves.WIDTH - curves.RIGHT, integer=False)
    y = curves.Axis(ends, curves.HEIGHT - curves.BOTTOM, curves.TOP, integer=False)
    best = front([(cost, val.value) for _, cost, val in known], cheap_is_low)
    dots = tuple(
        Dot(
            place,
            x(cost),
            y(val.value),
            y(val.value if val.high is None else val.high),
            y(val.value if val.low is None else val.low),
            on_front,
            f"{' · '.join(rows[place].levels)}: {val.value:.3f} at {cost:.4g}",
        )
        for (place, cost, val), on_front in zip(known, best, strict=True)
    )
    line = sorted((dot.x, dot.y) for dot in dots if dot.on_front)
    path = "M" + "L".join(f"{a:g} {b:g}" for a, b in line)
    return Scatter(title, dots, x.ticks, y.ticks, path)
