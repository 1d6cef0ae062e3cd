"""Numbers that must lie in a range, told by their keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

_IMAGENET = "data.mean=[0.485,0.456,0.406] data.std=[0.229,0.224,0.225]"


def normalisation_faults(
    where: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channels: int | None = None,
    in_full_scale: bool = False,
) -> list[str]:
    """Faults of a mean and a standard deviation per channel.

    Args:
        where: key of the node that holds ``mean`` and ``std``.
        mean, std: in units of the images' full scale; None is not looked at.
        channels: of the images, where known.
        in_full_scale: whether the images are integers, whose full scale is 1, so that nothing lies beyond 0…1. Floats
            may be of any range.
    """
    found = []
    for name, given in (("mean", mean), ("std", std)):
        if given is None:
            continue
        values, key = [float(value) for value in given], f"{where}.{name}"
        told = f"{key}={_shown(values)}"
        scale = (max(values, default=0.0) > 1 or min(values, default=0.0) < 0) and in_full_scale
        if not all(map(math.isfinite, values)):
            found.append(f"{told}: give finite numbers, or {key}=null.")
        elif name == "std" and min(values, default=1.0) <= 0:
            found.append(
                f"{told}: images are divided by it, so give numbers above 0, or {key}=null to have it measured."
            )
        elif scale and max(values) > 1 and min(values) >= 0:
            small = _shown([value / 255 for value in values])
            found.append(
                f"{told}: it counts in units of full scale, 0…1 whatever the depth; of 8-bit images divide by 255: "
                f"{key}={small}."
            )
        elif scale:
            found.append(f"{told}: it counts in units of full scale, so give numbers within 0…1, as in {_IMAGENET}.")
        if channels is not None and len(values) != channels:
            found.append(f"{key} has {len(values)} values, but the images have {channels} channels: give {channels}.")
    return found


def _shown(values: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in values)}]"
