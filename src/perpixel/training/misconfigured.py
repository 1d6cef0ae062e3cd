"""Lightning's own refusals of its Trainer's arguments, as the user mistakes that they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from lightning.fabric.utilities.exceptions import MisconfigurationException

from perpixel.config.schema import TrainerConfig

_KEYS = "|".join(field.name for field in fields(TrainerConfig))
_CALL = re.compile(rf"`?Trainer\(({_KEYS})\b([^)`]*)\)`?")  # `Trainer(devices=0)`
_QUOTED = re.compile(rf"`({_KEYS})\b([^`]*)`")  # `devices`, `devices=0`


@contextmanager
def misconfigured() -> Iterator[None]:
    """What goes wrong inside with Lightning's MisconfigurationException is a ValueError, which needs no traceback.

    Raises:
        ValueError: with Lightning's words, the arguments of its Trainer written as the keys that set them.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise ValueError(_keyed(str(error))) from error


def _keyed(words: str) -> str:
    keyed = _QUOTED.sub(r"trainer.\1\2", _CALL.sub(r"trainer.\1\2", words)).replace("`", "")
    return keyed if "trainer." in keyed else f"trainer: {keyed}"
