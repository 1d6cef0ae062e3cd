"""Small histograms for the page, with axes that can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 250, 112
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 34


def histogram(counts: Sequence[int], ticks: Mapping[int, str], axis: str, what: str) -> Markup:
    """An SVG of bars, with the greatest count on the left and names below.

    Args:
        counts: of each bin.
        ticks: by the bin at whose left edge they stand, what the axis says there.
        axis: what is counted along, with its unit.
        what: one of the things counted, in the plural.
    """
    top = max([*counts, 1])
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step, floor = wide / max(len(counts), 1), _TOP + high
    parts = [
        f'<line x1="{_LEFT}" y1="{floor}" x2="{_LEFT + wide}" y2="{floor}"/>',
        f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{floor}"/>',
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" text-anchor="end">{_short(top)}</text>',
        f'<text x="{_LEFT - 4}" y="{floor}" text-anchor="end">0</text>',
    ]
    for place, count in enumerate(counts):
        tall = max(high * count / top, 1.0) if count else 0.0
        parts.append(
            f'<rect x="{_LEFT + place * step + 0.5:.1f}" y="{floor - tall:.1f}" width="{max(step - 1, 1):.1f}" '
            f'height="{tall:.1f}"><title>{count:,}</title></rect>'
        )
    for place, text in ticks.items():
        at = _LEFT + place * step
        parts.append(f'<line x1="{at:.1f}" y1="{floor}" x2="{at:.1f}" y2="{floor + 3}"/>')
        parts.append(f'<text x="{at:.1f}" y="{floor + 13}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(axis)}</text>')
    label = escape(f"{what} by {axis}", quote=True)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
    return Markup(f'{head} aria-label="{label}">{"".join(parts)}</svg>')


def by_power(counts: Sequence[int], shown: int, every: int, axis: str) -> Markup:
    """Structures by powers of two.

    Args:
        counts: by power.
        shown: how many powers the axis holds, for all classes alike.
        every: powers from one name on the axis to the next.
        axis: what is measured, with its unit.
    """
    return histogram(counts[:shown], {at: _power(at) for at in range(0, shown + 1, every)}, axis, "structures")


def by_tenth(counts: Sequence[int]) -> Markup:
    """Samples by tenths of the range of brightness."""
    return histogram(counts, {0: "0", 5: "0.5", 10: "1"}, "mean brightness", "samples")


def _power(at: int) -> str:
    """2^12 → 4k, in the binary thousands that powers of two come in."""
    return f"{2 ** (at % 10)}{('', 'k', 'M')[at // 10]}"


def _short(number: int) -> str:
    """1160 → 1.16k, 25000 → 25k; exact below a thousand."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}" if number < 10 * size else f"{number // size}{letter}"
    return str(number)
