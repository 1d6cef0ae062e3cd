"""Networks that were exported for one size of image."""

from __future__ import annotations

from torch import Tensor


def check_size(images: Tensor, size: tuple[int, int] | None) -> None:
    """Refuse (B, C, H, W) images of another size than ``size``, (H, W); None takes any.

    Raises:
        ValueError: says both sizes and what to do.
    """
    if size is not None and tuple(images.shape[-2:]) != size:
        height, width = images.shape[-2:]
        raise ValueError(
            f"this model was exported for images of {size[0]}×{size[1]} pixels (H×W), and this one has "
            f"{height}×{width}: cut or resize it, or export again with export.size=[{height},{width}]."
        )
