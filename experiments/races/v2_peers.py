"""The same loader written with torchvision v2, in every way that might be fastest, and torchvision's own reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import street
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

Decoder = Literal["torchvision.io", "PIL"]
Side = tuple[DataLoader, Callable[[Any], Any]]
PIXELS = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}


def decode(path: Path) -> Tensor:
    """(C, H, W) uint8; colours of a JPEG, values of a PNG."""
    return decode_image(str(path), ImageReadMode.RGB if path.suffix == ".jpg" else ImageReadMode.UNCHANGED)


class Pairs(Dataset):
    """Pairs of files through v2 transforms."""

    def __init__(self, root: Path, transform: Callable[..., Any], decoder: Decoder) -> None:
        self.files = [sorted((root / kind / "train").iterdir()) for kind in ("images", "masks")]
        self.transform = transform
        self.decoder = decoder

    def __len__(self) -> int:
        return len(self.files[0])

    def __getitem__(self, index: int) -> Any:
        image, mask = (files[index] for files in self.files)
        if self.decoder == "PIL":
            return self.transform(Image.open(image).convert("RGB"), tv_tensors.Mask(np.array(Image.open(mask))))
        return self.transform(tv_tensors.Image(decode(image)), tv_tensors.Mask(decode(mask)[0]))


class Contiguous(v2.Transform):
    """Copies the crop, which is a view, before the colours change: v2's jitter is slower on views."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(inpt.contiguous(), like=inpt) if isinstance(inpt, Tensor) else inpt


def jitter(hue: float) -> v2.ColorJitter:
    return v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=hue)


def operations(hue: float, copied: bool) -> list[v2.Transform]:
    return [v2.RandomCrop(street.CROP), *[Contiguous()] * copied, v2.RandomHorizontalFlip(0.5), jitter(hue)]


def ways(root: Path, hue: float) -> dict[str, Side]:
    """Decoder × crop copied or not × normalised in the worker, or (small integers travel) in the training process."""
    finish = v2.Compose([v2.ToDtype(PIXELS, scale=True), v2.Normalize(street.MEAN, street.STD)])
    sides: dict[str, Side] = {}
    for copied in (False, True):
        steps = operations(hue, copied)
        note = ", crop copied" if copied else ""
        in_worker = v2.Compose([*steps, finish])
        sides[f"torchvision.io, normalised in the worker{note}"] = _side(root, in_worker, "torchvision.io", None)
        late = v2.Compose(steps)
        sides[f"torchvision.io, normalised after it{note}"] = _side(root, late, "torchvision.io", finish)
    pil = v2.Compose([*operations(hue, copied=False), v2.ToImage(), finish])
    sides["PIL, normalised in the worker"] = _side(root, pil, "PIL", None)
    return sides


def reference(root: Path) -> Side:
    """SegmentationPresetTrain of torchvision's references/segmentation (base_size=520, crop_size=480, use_v2)."""
    transform = v2.Compose(
        [
            v2.RandomResize(min_size=260, max_size=1040),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(480, pad_if_needed=True),
            v2.PILToTensor(),
            v2.ToDtype({torch.Tensor: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
            v2.Normalize(street.MEAN, street.STD),
        ]
    )
    return _side(root, transform, "PIL", None)


def transforms(part: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], hue: float) -> Callable[[], object]:
    """Crop, flip and jitter of decoded tensors, with the crop copied."""
    steps = v2.Compose(operations(hue, copied=True))
    whole = torch.zeros(3, street.HEIGHT, street.WIDTH, dtype=torch.uint8)
    whole[:, 256:768, 768:1280] = torch.from_numpy(part).permute(2, 0, 1)
    mask = tv_tensors.Mask(torch.zeros(street.HEIGHT, street.WIDTH, dtype=torch.uint8))
    return lambda: steps(tv_tensors.Image(whole), mask)


def stacked(part: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> Callable[[], object]:
    """The default collation of a batch of integers."""
    sample = (torch.from_numpy(part).permute(2, 0, 1).contiguous(), torch.from_numpy(labels))
    return lambda: default_collate([sample] * street.BATCH)


def _side(root: Path, transform: Callable[..., Any], decoder: Decoder, finish: Callable[..., Any] | None) -> Side:
    loader = DataLoader(
        Pairs(root, transform, decoder), street.BATCH, shuffle=True, drop_last=True, num_workers=1,
        persistent_workers=True,
    )  # fmt: skip
    return loader, lambda batch: finish(tv_tensors.Image(batch[0]), tv_tensors.Mask(batch[1])) if finish else batch
