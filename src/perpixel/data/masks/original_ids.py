"""Class indices → what mask files store, to give predictions in a data set's own numbers."""

from __future__ import annotations

import numpy as np

from perpixel.data.masks.policy import Relabelled
from perpixel.data.masks.reader import BinaryMasks, MaskReader


def original_ids(reader: MaskReader) -> tuple[int, ...] | None:
    """The stored value of each class, by its index.

    Of several values that became one class, the first (of names, the data set's first class); of 0/255 masks 255.

    Returns:
        None where files hold no numbers (colours, drawn shapes), or a class has none.
    """
    if isinstance(reader, Relabelled):
        own = original_ids(reader.reader)
        places = [np.flatnonzero(reader.table_of_indices == index) for index in range(reader.labels.num_classes)]
        if own is None or any(not len(place) or place[0] >= len(own) for place in places):
            return None
        return tuple(own[place[0]] for place in places)
    if reader.table is None:
        return None
    stored: list[list[int]] = [[] for _ in reader.labels.names]
    for value, index in reader.table.items():
        if index < len(stored):
            stored[index].append(value)
    if not all(stored):
        return None
    return tuple(values[-1 if isinstance(reader, BinaryMasks) else 0] for values in stored)
