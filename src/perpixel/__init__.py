"""perpixel: Hydra-configured, Lightning-trained semantic-segmentation experiments.

Importing the package imports nothing heavy: its public names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpixel._version import __version__

if TYPE_CHECKING:
    from perpixel.cli.api import TrainResult, train

__all__ = ["TrainResult", "__version__", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from perpixel.cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'perpixel' has no attribute '{name}'")
