"""perpixel: Hydra-configured, Lightning-trained semantic-segmentation experiments.

Importing the package imports nothing heavy: its public names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpixel._version import __version__

if TYPE_CHECKING:
    from perpixel.api import TrainResult, load, train

__all__ = ["TrainResult", "__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from perpixel import api

        return getattr(api, name)
    raise AttributeError(f"module 'perpixel' has no attribute '{name}'")
