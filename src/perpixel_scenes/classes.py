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

RULES: dict[str, str] = {
    "sky": "All that is open above the street, clouds too, and what of it shows through the crown of a tree.",
    "building": "Walls, roofs, windows, doors, awnings and balconies. A sign that stands out from a wall is a sign.",
    "road": "What vehicles drive on, with its markings, puddles and shadows, up to the kerb.",
    "sidewalk": "What people walk on, with the kerb. Poles, people and cars that stand on it are their own.",
    "vegetation": "Trees with their trunks, hedges and lawns. Holes between leaves belong to what shows through them.",
    "car": "Every vehicle, with wheels, windows and plates; what is seen through a window is the car's.",
    "person": "Whoever stands or walks, with clothes and bags; every part that is seen, however small.",
    "pole": "Lamp posts with their lamps, sign posts, masts with what they carry, bollards. Thin: a pixel far away.",
    "wire": "Cables over the street, in front of all behind them. Thinner than a pixel far away, and broken there.",
    "sign": "Plates of traffic signs and shop signs that stand out from walls, without the post that holds them.",
}
"""What an annotator needs to know; what stands in front always wins."""
