"""The one import of albumentations, with its call home at import switched off."""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
from albucore.functions import sz_lut as look_up
from albumentations.core.type_definitions import Targets

__all__ = ["A", "Targets", "look_up"]
