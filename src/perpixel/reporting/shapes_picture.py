"""The encoder–decoder drawn as textbooks do: down on the left, up on the right, skips as arcs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from perpixel.analysis.shapes import Stage

COLOURS = {"image": "#94a3b8", "encoder": "#2563eb", "decoder": "#ea580c", "head": "#16a34a"}
SKIP = "#7c3aed"

LEAST_HEIGHT = 0.02
"""A block is never drawn lower than this share of the image's height, or it would vanish."""


GAP = 0.2
"""Between neighbouring blocks, in heights of the image."""

INCHES = 1.9
"""The image's height on paper."""

LETTERS = 34
"""Of a stage's name in one height of the image."""

ARC = 0.35
"""A skip's arc rises no higher than this above its ends, in heights of the image."""


@dataclass(frozen=True)
class Block:
    """A stage's place in the picture, in units of the image's height."""

    stage: Stage
    left: float
    middle: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def top(self) -> float:
        return self.middle + self.height / 2

    @property
    def bottom(self) -> float:
        return self.middle - self.height / 2


def shapes_picture(stages: Sequence[Stage], image: tuple[int, int, int], title: str, out: Path) -> None:
    """Draw a model's stages into a PNG.

    Heights are to scale; widths grow with the logarithm of the channels; a stage stands as deep as its stride says.
    Arcs are skip connections, arrows the main path.

    Args:
        stages: as ``describe`` gives them.
        image: channels, height and width of the image.
        title: above the picture.
        out: the PNG to write.
    """
    blocks = place([_as_stage(image), *stages])
    across = max(block.right for block in blocks.values())
    deep = max(block.top for block in blocks.values()) - min(block.bottom for block in blocks.values())
    inches = max(9.0, INCHES * across)
    figure = Figure(figsize=(inches, inches * (deep + 0.6) / across + 0.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for block in blocks.values():
        _draw(axes, block)
    skipping = skips(stages)
    for block in blocks.values():
        for source in block.stage.inputs:
            if source in blocks:
                _connect(axes, blocks[source], block, (source, block.stage.name) in skipping)
    axes.set_xlim(-0.15, across + 0.15)
    axes.set_ylim(min(b.bottom for b in blocks.values()) - 0.3, max(b.top for b in blocks.values()) + 0.1 + ARC)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=11)
    _legend(axes, with_skips=bool(skipping))
    figure.savefig(out, format="png")


def _as_stage(image: tuple[int, int, int]) -> Stage:
    channels, height, width = image
    return Stage("image", height, width, channels, stride=1, parameters=0, macs=0, theoretical=(1, 1))


def place(stages: Sequence[Stage]) -> dict[str, Block]:
    """Each stage's block by name: left to right in the order of computation, top to bottom by stride."""
    tallest = max(stage.height for stage in stages)
    middles = _levels(stages, tallest)
    blocks: dict[str, Block] = {}
    left = 0.0
    for stage in stages:
        width = 0.035 * (1 + log2(max(stage.channels, 1)))
        height = max(stage.height / tallest, LEAST_HEIGHT)
        blocks[stage.name] = Block(stage, left, middles[stage.stride], width, height)
        left += width + GAP
    return blocks


def _levels(stages: Sequence[Stage], tallest: int) -> Mapping[float, float]:
    """The vertical middle of every stride that occurs: each level hangs below the next finer one."""
    middles, y = {}, 0.0
    for stride in sorted({stage.stride for stage in stages}):
        highest = max(stage.height for stage in stages if stage.stride == stride)
        drawn = max(highest / tallest, LEAST_HEIGHT)
        middles[stride] = y - drawn / 2
        y -= drawn + 0.3
    return middles


def _draw(axes: Axes, block: Block) -> None:
    stage = block.stage
    colour = COLOURS[stage.part]
    for alpha, fill in ((1.0, "white"), (0.75, colour)):  # nothing shines through
        corner = (block.left, block.bottom)
        axes.add_patch(
            Rectangle(corner, block.width, block.height, facecolor=fill, alpha=alpha, edgecolor=colour, zorder=2)
        )
    centre = block.left + block.width / 2
    name = stage.name.removeprefix("decoder.").removeprefix("head.")
    _label(axes, str(stage.channels), (centre, block.top), above=True, size=8, colour="black")
    below = f"{stage.height}×{stage.width}\n{wrapped(name, int((block.width + GAP) * LETTERS))}"
    _label(axes, below, (centre, block.bottom), above=False, size=6.5, colour="#334155")


def _label(axes: Axes, text: str, place: tuple[float, float], above: bool, size: float, colour: str) -> None:
    """A text that arrows pass behind."""
    axes.annotate(
        text,
        place,
        xytext=(0, 3 if above else -3),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=size,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        zorder=3,
    )


def wrapped(name: str, letters: int) -> str:
    """A module's name in lines of at most so many letters, broken after "." and "_" where there are any."""
    lines = [""]
    for part in re.findall(r"[^._]+[._]?", name):
        if lines[-1] and len(lines[-1] + part) > letters:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def skips(stages: Sequence[Stage]) -> set[tuple[str, str]]:
    """Which connections, by the names of their ends, are skips: they lead past the bottleneck.

    That is, from any map of the encoder but its last, and on through whatever is computed from such maps alone (the
    norms that UPerNet begins with).
    """
    encoder = [stage.name for stage in stages if stage.part == "encoder"]
    past = set(encoder[:-1])
    found: set[tuple[str, str]] = set()
    for stage in stages:
        if stage.part != "encoder":
            found |= {(source, stage.name) for source in stage.inputs if source in past}
            past |= {stage.name} if past.issuperset(stage.inputs) else set()
    return found


def _connect(axes: Axes, source: Block, target: Block, skip: bool) -> None:
    # What lies between on the same level would be crossed out by a straight line.
    arc = skip or (source.middle == target.middle and not _follows(source, target))
    start = (source.right, source.top if arc else source.middle)
    end = (target.left, target.top if arc else target.middle)
    # arc3 puts its control point at rad times the distance, and the arc rises half as high.
    rise = min(0.28, 2 * ARC / (end[0] - start[0])) if arc else 0.0
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={-rise}",
            arrowstyle="-|>",
            mutation_scale=8,
            linewidth=1.1,
            color=SKIP if skip else "#475569",
            alpha=0.8,
            zorder=1,
        )
    )


def _follows(source: Block, target: Block) -> bool:
    """Whether the target is the next block to the right."""
    return target.left - source.right < GAP + 0.05


def _legend(axes: Axes, with_skips: bool) -> None:
    handles: dict[str, Patch] = {
        part: Rectangle((0, 0), 1, 1, facecolor=COLOURS[part], alpha=0.75) for part in ("encoder", "decoder", "head")
    }
    if with_skips:
        handles["skip connection"] = FancyArrowPatch((0, 0), (1, 0), color=SKIP)
    axes.legend(
        list(handles.values()),
        list(handles),
        loc="lower right",
        frameon=False,
        fontsize=8,
        title="number above: channels; below: height × width",
        title_fontsize=7,
    )
