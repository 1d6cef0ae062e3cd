"""Under what the images of a split were taken."""

from __future__ import annotations

from typing import cast

from perpixel.data import DataSource
from perpixel.data.base import SplitName
from perpixel.uncertainty import Conditions


def image_conditions(source: DataSource, name: str) -> Conditions:
    """What the data say of each image of a split, by its name; images of which nothing is known have no entry."""
    split = source.split(cast(SplitName, name))
    known = ((index, dict(split.conditions(index))) for index in range(len(split)))
    return Conditions({split.sample_name(index): found for index, found in known if found}, source.groups_are)
