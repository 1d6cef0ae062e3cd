from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perpixel.data.formats.bounds import MAX_PIXELS
from perpixel.data.formats.decode import image_shape, read_image, read_values
from perpixel.data.masks.reader import ColourMasks
from perpixel.labels import LabelSpace
from perpixel.windows import Window

rng = np.random.default_rng(0)
PIXELS = np.kron(rng.integers(0, 256, (6, 8, 1), np.uint8), np.ones((8, 8, 3), np.uint8))  # 48 × 64


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "npy", "jpg"])
def test_reads_each_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, PIXELS)
    else:
        Image.fromarray(PIXELS).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image_shape(path) == (48, 64)
    difference = np.abs(image.astype(int) - PIXELS)
    assert difference.mean() < (4 if suffix == "jpg" else 1e-9)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_mode_becomes_the_channels_asked_for(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).convert(mode).save(path)
    assert read_image(path).shape == (48, 64, 3)
    assert read_image(path, channels=1).shape == (48, 64, 1)


def test_other_channel_counts_are_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.uint16))
    assert read_image(tmp_path / "a.npy", 6).dtype == np.uint16
    with pytest.raises(ValueError, match=r"6 channels.*data\.source\.channels=6"):
        read_image(tmp_path / "a.npy", 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_truncated_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match=rf"a\.{suffix}' cannot be decoded"):
        read_image(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.png' does not exist"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png' cannot be decoded"):
        read_image(tmp_path / "text.png")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects\.npy' is no NumPy array"):
        read_image(tmp_path / "objects.npy")


@pytest.mark.parametrize(("bound", "told"), [(MAX_PIXELS, "has"), (None, r"is 30000×30000 \(H×W\),")])
def test_a_bomb_is_refused_from_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int | None, told: str
) -> None:
    """A PNG whose header promises 30000 × 30000 pixels: nothing is decoded, whether Pillow has a bound or none."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    )
    with pytest.raises(ValueError, match=rf"bomb\.png' {told} more than 178,956,970 pixels"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_handled_alike_for_image_and_mask(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.arange(48 * 64).reshape(48, 64).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    image, mask = read_image(tmp_path / "a.png", 1), read_values(tmp_path / "a.png")
    np.testing.assert_array_equal(image[..., 0], mask)
    assert image_shape(tmp_path / "a.png") == mask.shape == ((64, 48) if orientation > 4 else (48, 64))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_are_turned_as_masks_are(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.kron(np.arange(12).reshape(3, 4) * 20, np.ones((16, 16))).astype(np.uint8)
    Image.fromarray(values).convert("RGB").save(tmp_path / "a.jpg", quality=95, exif=exif)
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    image, mask = read_image(tmp_path / "a.jpg"), read_values(tmp_path / "a.png")
    assert image.shape[:2] == mask.shape == image_shape(tmp_path / "a.jpg")
    assert np.abs(image[..., 0].astype(int) - mask).max() < 12


def test_jpegs_decode_as_pillow_decodes_them(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_allclose(read_image(tmp_path / "a.jpg").astype(int), np.asarray(image).astype(int), atol=2)


def test_palette_masks_give_indices(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8), mode="P")
    mask.putpalette([i for n in range(256) for i in (n * 7 % 256, 9, 200)])
    mask.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_values(tmp_path / "a.png"), [[0, 1], [2, 255]])


def test_grey_stored_as_colour_is_grey(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 3]], np.uint8)
    Image.fromarray(np.repeat(values[..., None], 3, 2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_values(tmp_path / "a.png"), values)


def test_wide_and_black_and_white_masks(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 700]], np.uint16)).save(tmp_path / "wide.png")
    assert read_values(tmp_path / "wide.png").tolist() == [[0, 700]]
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "bits.png")
    assert read_values(tmp_path / "bits.png").tolist() == [[0, 1]]


def test_jpeg_masks_are_refused(tmp_path: Path) -> None:
    """By what they are: a JPEG by another name, too, but no PNG that is called one."""
    for name in ("mask.jpg", "mask.png"):
        Image.fromarray(PIXELS[..., 0]).save(tmp_path / name, "JPEG")
        for window in (None, Window(0, 0, 8, 8)):
            with pytest.raises(ValueError, match="is a JPEG, which blurs labels"):
                read_values(tmp_path / name, window)
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "mask.jpg", "PNG")
    np.testing.assert_array_equal(read_values(tmp_path / "mask.jpg"), PIXELS[..., 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_told_with_the_file(tmp_path: Path, value: float) -> None:
    image = np.zeros((4, 5, 3), np.float32)
    image[1, :2] = value
    np.save(tmp_path / "hole.npy", image)
    with pytest.raises(ValueError, match=r"hole\.npy' holds 6 values that are NaN or infinite"):
        read_image(tmp_path / "hole.npy")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_palette_masks_may_be_read_by_their_colours(tmp_path: Path, suffix: str) -> None:
    mask = Image.fromarray(np.array([[5, 1], [2, 1]], np.uint8))
    mask.putpalette([i for n in range(256) for i in (n * 7 % 256, 9, 200)])
    mask.save(tmp_path / f"a.{suffix}")
    labels = LabelSpace(("a", "b", "c"), ((7, 9, 200), (14, 9, 200), (35, 9, 200)))
    reader = ColourMasks(labels)
    assert reader(tmp_path / f"a.{suffix}").tolist() == [[2, 0], [1, 0]]
    assert reader(tmp_path / f"a.{suffix}", Window(0, 0, 1, 2)).tolist() == [[2, 0]]


@pytest.mark.parametrize("options", [{"lossless": False}, {"lossless": False, "exif": b"Exif\0\0II*\0\0\0\0\0"}])
def test_lossy_webp_masks_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "mask.webp", **options)
    with pytest.raises(ValueError, match="is a lossy WebP, which blurs labels"):
        read_values(tmp_path / "mask.webp")
    Image.fromarray(PIXELS).save(tmp_path / "mask.webp", **(options | {"lossless": True}))
    np.testing.assert_array_equal(read_values(tmp_path / "mask.webp"), PIXELS[..., 0])


def test_tiff_masks_compressed_as_jpeg_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "mask.tif", compression="jpeg")
    with pytest.raises(ValueError, match="is compressed as JPEG, which blurs labels"):
        read_values(tmp_path / "mask.tif")
