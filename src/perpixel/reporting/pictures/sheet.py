"""A contact sheet of what the model is about to be trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from perpixel.labels import LabelSpace

PICTURE = 224
"""Height of a picture on the sheet, in pixels."""

MOST = 16
"""A sheet shows at most so many samples."""

_WIDEST = 1600
_MARGIN, _CAPTION, _SWATCH = 12, 20, 14
_FONT = ImageFont.load_default(size=13)
_PAPER, _INK = (255, 255, 255), (40, 44, 52)

RGB = npt.NDArray[np.uint8]


def batch_picture(
    images: RGB, masks: npt.NDArray[np.integer[Any]], labels: LabelSpace, names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """A contact sheet: each sample as image and as image under its mask, with its name and the classes' legend.

    Whoever looks at it sees at once whether masks are aligned, colours plausible and the augmentation too strong.

    Args:
        images: (B, H, W, 3) uint8 RGB, as augmented, before normalisation.
        masks: (B, H, W) class indices; pixels without a label keep the image's colours, dimmed.
        labels: names and colours of the classes.
        names: one per sample.

    Returns:
        (h, w, 3) uint8; w is at most about 1600, B at most 16.
    """
    cells = [_cell(*sample, labels) for sample in zip(images[:MOST], masks, names, strict=False)]
    width, height = cells[0].width + _MARGIN, cells[0].height + _MARGIN
    columns = max(1, min(_WIDEST // width, len(cells)))
    rows = math.ceil(len(cells) / columns)
    legend = _legend(labels, columns * width - _MARGIN)
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + legend.height + 2 * _MARGIN), _PAPER)
    for place, cell in enumerate(cells):
        sheet.paste(cell, (_MARGIN + place % columns * width, _MARGIN + place // columns * height))
    sheet.paste(legend, (_MARGIN, rows * height + _MARGIN))
    return np.asarray(sheet)


def _cell(image: RGB, mask: npt.NDArray[np.integer[Any]], name: str, labels: LabelSpace) -> Image.Image:
    """Image and overlay side by side, the name under them."""
    width = max(1, round(PICTURE * image.shape[1] / image.shape[0]))
    cell = Image.new("RGB", (2 * width + 2, PICTURE + _CAPTION), _PAPER)
    for place, picture in enumerate((image, _under_mask(image, mask, labels))):
        cell.paste(_resized(picture, (width, PICTURE)), (place * (width + 2), 0))
    ImageDraw.Draw(cell).text((1, PICTURE + 3), name, _INK, _FONT)
    return cell


def _under_mask(image: RGB, mask: npt.NDArray[np.integer[Any]], labels: LabelSpace) -> RGB:
    labelled = ((mask >= 0) & (mask < labels.num_classes))[..., None]
    colours = labels.colour(mask).astype(np.float32)
    return np.where(labelled, 0.45 * image + 0.55 * colours, 0.4 * image).astype(np.uint8)


def _resized(picture: RGB, size: tuple[int, int]) -> Image.Image:
    """Small pictures are enlarged by nearest: their pixels are what the model sees."""
    enlarging = picture.shape[0] < size[1]
    return Image.fromarray(picture).resize(size, Image.Resampling.NEAREST if enlarging else Image.Resampling.LANCZOS)


def _legend(labels: LabelSpace, width: int) -> Image.Image:
    """Swatch and name of every class, in as many lines as it takes."""
    places, x, y = [], 0, 0
    for name in labels.names:
        needed = _SWATCH + 6 + math.ceil(_FONT.getlength(name)) + 16
        if x and x + needed > width:
            x, y = 0, y + _CAPTION
        places.append((x, y))
        x += needed
    legend = Image.new("RGB", (width, y + _CAPTION), _PAPER)
    draw = ImageDraw.Draw(legend)
    for (x, y), name, colour in zip(places, labels.names, labels.palette, strict=True):
        draw.rectangle((x, y + 2, x + _SWATCH, y + 2 + _SWATCH), fill=colour, outline=_INK)
        draw.text((x + _SWATCH + 6, y + 1), name, _INK, _FONT)
    return legend
