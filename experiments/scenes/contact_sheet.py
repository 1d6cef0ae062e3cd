"""Draw scenes and their masks side by side, with a legend: one row per weather, one column per camera.

python experiments/scenes/contact_sheet.py [--output PATH] [--size 256] [--split train] [--first 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from perpixel_scenes import CAMERAS, WEATHERS, Scenes

GAP, BAR, BACKGROUND, INK = 6, 34, (24, 25, 28), (226, 226, 222)


def pair(weather: str, camera: str, split: str, index: int, size: int) -> np.ndarray:
    """A scene and, half as high, its mask below it: (1.5 · size, size, 3) uint8."""
    scenes = Scenes(size=(size, size), weathers=[weather], cameras=[camera])
    sample = scenes.draw(split, index)
    mask = scenes.labels.colour(sample.mask)
    half = mask[size // 4 : size // 4 + size // 2]
    return np.concatenate([sample.image, half])


def sheet(split: str, first: int, size: int) -> Image.Image:
    """All weathers × cameras."""
    height = size * 3 // 2 + GAP
    canvas = Image.new("RGB", (len(CAMERAS) * (size + GAP) + GAP, len(WEATHERS) * height + GAP + BAR), BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for row, weather in enumerate(WEATHERS):
        for column, camera in enumerate(CAMERAS):
            left, top = GAP + column * (size + GAP), GAP + row * height
            picture = pair(weather, camera, split, first + row * len(CAMERAS) + column, size)
            canvas.paste(Image.fromarray(picture), (left, top))
            draw.text((left + 7, top + 5), f"{weather} · {camera}", INK, font, stroke_width=2, stroke_fill=BACKGROUND)
    legend(draw, font, canvas.height - BAR + 4, canvas.width)
    return canvas


def legend(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont, top: int, width: int) -> None:
    """One coloured box and name per class."""
    step = (width - 2 * GAP) // Scenes.labels.num_classes
    for index, (name, colour) in enumerate(zip(Scenes.labels.names, Scenes.labels.palette, strict=True)):
        left = GAP + index * step
        draw.rectangle((left, top + 2, left + 18, top + 20), colour)
        draw.text((left + 25, top + 3), name, INK, font)


def save_small(picture: Image.Image, path: Path, limit: int = 1_000_000) -> None:
    """Save as PNG under ``limit`` bytes: 256 colours, smaller until it fits."""
    scale = 1.0
    while True:
        size = (int(picture.width * scale), int(picture.height * scale))
        resized = cv2.resize(np.asarray(picture), size, interpolation=cv2.INTER_AREA)
        Image.fromarray(resized).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
        if path.stat().st_size < limit:
            return
        scale *= 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("contact_sheet.png"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--split", default="train")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    save_small(sheet(options.split, options.first, options.size), options.output)


if __name__ == "__main__":
    main()
