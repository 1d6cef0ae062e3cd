"""The ten classes of a street, from half of the image (road, building) to a few pixels (wire)."""

from __future__ import annotations

from enum import IntEnum

from perpixel.labels import LabelSpace


class Class(IntEnum):
    """Index of each class in the masks."""

    SKY = 0
    BUILDING = 1
    ROAD = 2
    SIDEWALK = 3
    VEGETATION = 4
    CAR = 5
    PERSON = 6
    POLE = 7
    WIRE = 8
    SIGN = 9


LABELS = LabelSpace(
    names=tuple(member.name.lower() for member in Class),
    palette=(
        (110, 165, 215),
        (96, 88, 92),
        (128, 64, 128),
        (222, 140, 200),
        (92, 148, 48),
        (24, 44, 190),
        (226, 32, 64),
        (196, 196, 188),
        (255, 150, 0),
        (246, 222, 30),
    ),
    ignore_index=None,
)
"""Every pixel has a label: there is no ignore index."""
