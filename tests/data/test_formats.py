"""Depths and bands beyond 8-bit RGB, windows, and what to do about bad files."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from perpixel.data import Folder
from perpixel.data.formats.decode import image_shape, is_cut_short, read_image, read_values
from perpixel.windows import Window

BANDS = np.random.default_rng(0).integers(0, 65536, (67, 83, 6), np.uint16)
WINDOW = Window(11, 20, 30, 41)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"planarconfig": "contig"},
    "short strips": {"planarconfig": "contig", "rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"planarconfig": "contig", "tile": (16, 32), "compression": "zlib", "predictor": True},
    "bands apart": {"planarconfig": "separate"},
    "bands apart in tiles": {"planarconfig": "separate", "tile": (32, 16)},
}


def geotiff(path: Path, **layout: Any) -> Path:
    data = BANDS if layout["planarconfig"] == "contig" else np.moveaxis(BANDS, -1, 0)
    tifffile.imwrite(path, data, photometric="minisblack", **layout)
    return path


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_multiband_tiffs(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = geotiff(tmp_path / "a.tif", **layout)
    np.testing.assert_array_equal(read_image(path, 6), BANDS)
    np.testing.assert_array_equal(read_image(path, 6, WINDOW), BANDS[WINDOW.slices])
    assert image_shape(path) == (67, 83)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"a\.tif' cannot be decoded"):
        read_image(path, 6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("no_data", [0, 9])
def test_tiles_left_out_of_a_sparse_tiff_hold_no_data(tmp_path: Path, dtype: str, no_data: int) -> None:
    """As GDAL writes them with SPARSE_OK: their place and size are 0."""
    path, expected = tmp_path / "a.tif", BANDS[:64, :64, 0].astype(dtype)
    tags = [(42113, "s", 0, str(no_data), True)] if no_data else []
    tifffile.imwrite(path, expected, tile=(32, 32), compression="zlib", extratags=tags)
    with tifffile.TiffFile(path, mode="r+") as file:
        page: Any = file.pages[0]
        for tag, values in (("TileOffsets", page.dataoffsets), ("TileByteCounts", page.databytecounts)):
            page.tags[tag].overwrite([values[0], 0, *values[2:]])
    expected[:32, 32:] = no_data
    part = Window(20, 20, 30, 30)
    for window in (Window(0, 0, 64, 64), part):
        np.testing.assert_array_equal(read_image(path, 1, window)[..., 0], expected[window.slices])
    np.testing.assert_array_equal(read_values(path), expected)


def test_a_window_reads_only_the_tiles_it_touches(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", planarconfig="contig", tile=(16, 16))
    path.write_bytes(path.read_bytes()[:-5000])  # the last tiles are gone
    np.testing.assert_array_equal(read_image(path, 6, Window(0, 0, 20, 20)), BANDS[:20, :20])


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    rgb = BANDS[..., :3]
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    cv2.imwrite(str(tmp_path / "rgb.png"), rgb[..., ::-1])
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    np.save(tmp_path / "rgb.npy", rgb)
    for name in ("rgb.tif", "rgb.png", "rgb.npy"):
        np.testing.assert_array_equal(read_image(tmp_path / name), rgb)
        np.testing.assert_array_equal(read_image(tmp_path / name, 3, WINDOW), rgb[WINDOW.slices])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", 1), rgb[..., :1])


def test_depth_does_not_hang_on_a_name(tmp_path: Path) -> None:
    """Pillow would narrow both to 8 bits."""
    rgb = BANDS[..., :3]
    cv2.imwrite(str(tmp_path / "rgb.png"), rgb[..., ::-1])
    path = (tmp_path / "rgb.png").rename(tmp_path / "rgb.jpg")
    np.testing.assert_array_equal(read_image(path), rgb)
    np.testing.assert_array_equal(read_image(path, 3, WINDOW), rgb[WINDOW.slices])
    np.testing.assert_array_equal(read_values(path), rgb)
    tifffile.imwrite(tmp_path / "tiff.png", rgb, photometric="rgb")
    for look in (read_image, read_values, image_shape):
        with pytest.raises(ValueError, match=r"tiff\.png' is a TIFF by another name: let it end in \.tif"):
            look(tmp_path / "tiff.png")


def png(path: Path, size: tuple[int, int], depth: int, colour_type: int, rows: bytes) -> Path:
    """As specified, kind by kind: no library writes them all. (H, W), and packed rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = size
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    stride = len(rows) // height
    data = b"".join(b"\0" + rows[row * stride : (row + 1) * stride] for row in range(height))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )
    return path


def test_sixteen_bit_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    grey = np.array([[0, 1, 300, 65535], [2, 3, 4, 5]], np.uint16)
    with_alpha = np.stack([grey, np.full_like(grey, 7)], 2).astype(">u2")
    path, part = png(tmp_path / "a.png", (2, 4), 16, 4, with_alpha.tobytes()), Window(0, 1, 2, 2)
    for window in (Window(0, 0, 2, 4), None, part):
        expected = grey if window is None else grey[window.slices]
        np.testing.assert_array_equal(read_values(path, window), expected)
        np.testing.assert_array_equal(read_image(path, 1, window)[..., 0], expected)
        np.testing.assert_array_equal(read_image(path, 3, window)[..., 2], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("more", [{}, {"tile": (16, 16), "compression": "zlib"}], ids=["strips", "tiles"])
def test_pages_of_a_tiff_are_bands_where_so_many_are_asked_for(
    tmp_path: Path, dtype: str, more: dict[str, Any]
) -> None:
    path, pages = tmp_path / "a.tif", np.moveaxis(BANDS[..., :5], -1, 0).astype(dtype)
    tifffile.imwrite(path, pages, photometric="minisblack", **more)
    np.testing.assert_array_equal(read_image(path, 5), np.moveaxis(pages, 0, -1))
    np.testing.assert_array_equal(read_image(path, 5, WINDOW), np.moveaxis(pages, 0, -1)[WINDOW.slices])
    for channels in (1, 3, 4):
        with pytest.raises(ValueError, match=r"a\.tif' has 5 pages.*set data\.source\.channels=5"):
            read_image(path, channels)
    with pytest.raises(ValueError, match=r"a\.tif' has 5 pages of the same size.*save each page as a file\.$"):
        read_values(path)


def test_pages_of_several_bands_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 16, 16, 3), np.uint8), photometric="rgb")
    for channels in (2, 3, 6):
        with pytest.raises(ValueError, match=r"a\.tif' has 2 pages of the same size.*save each page as a file\.$"):
            read_image(path, channels)


@pytest.mark.parametrize("kind", ["overview", "mask", "thumbnail", "other depth"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pages_beside_the_picture_are_not_read(tmp_path: Path, kind: str, dtype: str) -> None:
    path, grey = tmp_path / "a.tif", BANDS[..., 0].astype(dtype)
    beside: Any = {"thumbnail": grey[:8, :8], "other depth": grey.astype("f4"), "mask": grey > 9}.get(kind, grey)
    with tifffile.TiffWriter(path) as file:
        file.write(grey, photometric="minisblack", tile=(16, 16))
        file.write(beside, photometric="minisblack", subfiletype={"overview": 1, "mask": 4}.get(kind, 0))
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], grey)
    np.testing.assert_array_equal(read_image(path, 1, WINDOW)[..., 0], grey[WINDOW.slices])
    np.testing.assert_array_equal(read_values(path), grey)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_masks_of_few_bits_give_what_they_store(tmp_path: Path, bits: int, suffix: str) -> None:
    """Images spread the same values over 0…255."""
    values = np.resize(np.arange(2**bits, dtype=np.uint8), (5, 16))
    if suffix == "png":
        as_bits = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :]
        path = png(tmp_path / "a.png", (5, 16), bits, 0, np.packbits(as_bits.reshape(5, -1), axis=1).tobytes())
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, values.astype(bool) if bits == 1 else values, bitspersample=bits, photometric=1)
    part = Window(1, 3, 3, 7)
    np.testing.assert_array_equal(read_values(path), values)
    np.testing.assert_array_equal(read_values(path, part), values[part.slices])
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], values * (255 // (2**bits - 1)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tiffs_that_store_white_as_0(tmp_path: Path, dtype: str) -> None:
    """Images of any depth show brightness, masks give what is stored."""
    path, part = tmp_path / "a.tif", Window(1, 3, 3, 7)
    values = np.resize(np.array([0, 1, 2, 255], dtype), (5, 16))
    tifffile.imwrite(path, values, photometric="miniswhite")
    np.testing.assert_array_equal(read_values(path), values)
    np.testing.assert_array_equal(read_values(path, part), values[part.slices])
    bright = np.iinfo(dtype).max - values
    assert read_image(path, 1).dtype == dtype
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], bright)
    np.testing.assert_array_equal(read_image(path, 1, part)[..., 0], bright[part.slices])


def test_floats_keep_their_values(tmp_path: Path) -> None:
    heights = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    tifffile.imwrite(tmp_path / "a.tif", heights)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1)[..., 0], heights)


def test_windows_of_pictures_and_masks(tmp_path: Path) -> None:
    grey = BANDS[..., 0].astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1, WINDOW)[..., 0], grey[WINDOW.slices])
    np.testing.assert_array_equal(read_values(tmp_path / "a.png", WINDOW), grey[WINDOW.slices])


def test_compressions_that_need_a_package_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise KeyError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    path = geotiff(tmp_path / "a.tif", planarconfig="contig")
    monkeypatch.setattr("perpixel.data.formats.tiff._read_window", refuse)
    with pytest.raises(ValueError, match=r"pip install 'perpixel\[geo\]'"):
        read_image(path, 6)


def test_zstd_is_left_to_what_bounds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain pictures are read by libtiff then."""
    pytest.importorskip("imagecodecs", reason="writes it")
    for dtype in ("uint8", "uint16"):
        tifffile.imwrite(tmp_path / f"{dtype}.tif", BANDS[..., 0].astype(dtype), compression="zstd")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(read_values(tmp_path / "uint8.tif"), BANDS[..., 0].astype("uint8"))
    with pytest.raises(ValueError, match=r"uint16\.tif' is compressed .*pip install 'perpixel\[geo\]'"):
        read_image(tmp_path / "uint16.tif", 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_proper_ends(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(BANDS[..., 0].astype(np.uint8)).save(path)
    assert not is_cut_short(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert is_cut_short(path)


def only_value_errors_that_name(path: Path, channels: int) -> None:
    window = Window(0, 0, 8, 8)
    for read in (
        lambda: image_shape(path),
        lambda: read_image(path, channels),
        lambda: read_image(path, channels, window),
        lambda: read_values(path),
        lambda: read_values(path, window),
    ):
        try:
            read()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 3), ("uint16", 6)])
def test_damaged_tiffs_are_named_whatever_their_damage_leads_to(
    tmp_path: Path, dtype: str, bands: int, compression: str | None
) -> None:
    """Bytes flipped anywhere, above all in headers, and files cut short."""
    if compression == "lzw":
        pytest.importorskip("imagecodecs", reason="LZW is part of the extra 'geo'")
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    pixels = BANDS[:24, :24, :bands].astype(dtype)
    kind = "rgb" if bands == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=kind, planarconfig="contig", tile=(16, 16), compression=compression)
    whole = path.read_bytes()
    for place in [*rng.integers(4, 400, 30), *rng.integers(4, len(whole), 10)]:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        only_value_errors_that_name(path, bands)
        path.write_bytes(whole[:place])
        only_value_errors_that_name(path, bands)


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw"])
def test_damaged_compression_is_named(tmp_path: Path, compression: str) -> None:
    if compression != "zlib":
        pytest.importorskip("imagecodecs", reason="part of the extra 'geo'")
    path = geotiff(tmp_path / "a.tif", planarconfig="contig", tile=(16, 16), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    data[start : start + 40] = bytes(range(100, 140))
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.tif' cannot be decoded .*copy it again"):
        read_image(path, 6)


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4, 3)])
def test_arrays_that_are_no_pictures_are_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path, window = tmp_path / "a.npy", Window(0, 0, 2, 2)
    np.save(path, np.zeros(shape, np.uint8))
    for read in (
        lambda: image_shape(path),
        lambda: read_image(path),
        lambda: read_image(path, 3, window),
        lambda: read_values(path),
        lambda: read_values(path, window),
    ):
        with pytest.raises(ValueError, match=rf"a\.npy' has shape {re.escape(str(shape))}: save pictures as"):
            read()


@pytest.mark.parametrize("suffix", ["npy", "png", "tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_files_without_pixels_are_named(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, np.zeros((0, 50), dtype))
    elif suffix == "png":
        png(path, (1, 50), 8 * np.dtype(dtype).itemsize, 0, bytes(50 * np.dtype(dtype).itemsize))
        path.write_bytes(path.read_bytes().replace(b"IHDR\0\0\0\x32\0\0\0\1", b"IHDR\0\0\0\x32\0\0\0\0"))
    else:
        tifffile.imwrite(path, np.zeros((8, 8), dtype))
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["ImageLength"].overwrite(0)  # type: ignore[union-attr]
    for read in (image_shape, lambda path: read_image(path, 1), read_values):
        with pytest.raises(ValueError, match=rf"a\.{suffix}' (cannot be decoded|has shape)"):
            read(path)


def own_multispectral(root: Path) -> Folder:
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for index in range(8):
        geotiff(root / "images" / f"{index}.tif", planarconfig="contig", tile=(16, 16))
        Image.fromarray((BANDS[..., 0] % 2).astype(np.uint8)).save(root / "masks" / f"{index}.png")
    return Folder(str(root), ["land", "water"], channels=6, tile=(32, 48))


def test_files_cut_into_tiles(tmp_path: Path) -> None:
    source = own_multispectral(tmp_path)
    split = source.split("val")
    assert [split.shape(i) for i in range(6)] == [(32, 48), (32, 35), (32, 48), (32, 35), (3, 48), (3, 35)]
    sample = split.read(1, np.random.default_rng(0))
    assert sample.name.endswith("_r0c48")
    np.testing.assert_array_equal(sample.image, BANDS[:32, 48:])
    np.testing.assert_array_equal(sample.mask, BANDS[:32, 48:, 0] % 2)
    files = [{pair.image for pair in source.split(name).pairs} for name in source.splits]
    assert not set.intersection(*files)
    np.testing.assert_allclose(source.mean, 0.5, atol=0.05)
    split.verify()


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_bad_files_are_quarantined_up_to_a_share(make_folder: Callable[..., Path], share: float) -> None:
    root = make_folder([f"train/{i}" for i in range(10)] + ["val/0"])
    bad = root / "images" / "train" / "3.png"
    bad.write_bytes(bad.read_bytes()[:-200])
    options: dict[str, Any] = {"split": "folders", "on_bad_file": "skip", "max_bad": share}
    if share == 0.0:
        with pytest.raises(ValueError, match=r"1 of 10 pairs are faulty:\n'.*3\.png' cannot be decoded"):
            Folder(str(root), ["a", "b", "c"], **options)
        return
    source = Folder(str(root), ["a", "b", "c"], **options)
    assert len(source.split("train")) == 9
    assert len(source.quarantined) == 1
    assert "3.png" in source.quarantined[0]
    source.split("train").verify()


@pytest.mark.parametrize("layout", ["strips", "tiles", "bands apart"])
def test_lzw_geotiffs_are_read_by_window(tmp_path: Path, layout: str) -> None:
    pytest.importorskip("imagecodecs", reason="LZW is part of the extra 'geo'")
    path = geotiff(tmp_path / "a.tif", **(LAYOUTS[layout] | {"compression": "lzw"}))
    np.testing.assert_array_equal(read_image(path, 6), BANDS)
    np.testing.assert_array_equal(read_image(path, 6, WINDOW), BANDS[WINDOW.slices])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_tiffs_of_other_programs(tmp_path: Path, compression: str) -> None:
    """Written by libtiff: 8-bit pictures in any compression, without the extra."""
    rgb = BANDS[..., :3].astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 3, WINDOW), rgb[WINDOW.slices])
    Image.fromarray(rgb[..., 0]).save(tmp_path / "mask.tif", compression=compression)
    np.testing.assert_array_equal(read_values(tmp_path / "mask.tif"), rgb[..., 0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_windows_of_jpegs_in_tiffs_of_other_programs(tmp_path: Path, mode: str) -> None:
    """libtiff writes the tables once, beside the strips."""
    image = Image.fromarray(BANDS[..., :3].astype(np.uint8)).resize((300, 400)).convert(mode)
    image.save(tmp_path / "a.tif", compression="jpeg")
    with Image.open(tmp_path / "a.tif") as expected:
        np.testing.assert_allclose(read_image(tmp_path / "a.tif"), np.asarray(expected.convert("RGB")), atol=2)
        part = read_image(tmp_path / "a.tif", 3, WINDOW)
        np.testing.assert_allclose(part, np.asarray(expected.convert("RGB"))[WINDOW.slices], atol=2)


def test_an_unknown_rule_for_bad_files(make_folder: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="choose error or skip"):
        Folder(str(make_folder(list("abcdefgh"))), ["a"], on_bad_file="hope")


EIGHT = {"grey": BANDS[..., 0], "rgb": BANDS[..., :3], "rgba": BANDS[..., :4], "palette": BANDS[..., 0]}


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
@pytest.mark.parametrize("kind", EIGHT)
def test_windows_of_8_bit_tiffs_read_the_tiles_they_touch(tmp_path: Path, kind: str, compression: str | None) -> None:
    if compression in ("lzw", "jpeg"):
        pytest.importorskip("imagecodecs", reason="LZW and JPEG in TIFF are part of the extra 'geo'")
    if compression == "jpeg" and kind in ("rgba", "palette"):
        pytest.skip("nobody writes them")
    pixels = np.kron(
        (EIGHT[kind] % 256).astype(np.uint8)[:9, :9], np.ones((8, 8) + (1,) * (EIGHT[kind].ndim - 2), "u1")
    )
    photometric = {"grey": "minisblack", "palette": "palette"}.get(kind, "rgb")
    more: dict[str, Any] = {"extrasamples": ["unassalpha"]} if kind == "rgba" else {}
    if kind == "palette":
        more["colormap"] = np.arange(768, dtype=np.uint16).reshape(3, 256) * 80
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric=photometric, tile=(16, 16), compression=compression, **more)
    whole = {c: read_image(path, c) for c in (1, 3)}
    values = None if compression == "jpeg" else read_values(path)  # JPEG is no compression for masks
    part = Window(3, 5, 20, 30)
    with path.open("r+b") as file, tifffile.TiffFile(path) as tiff:
        file.seek(tiff.pages[0].dataoffsets[-1])  # type: ignore[union-attr]
        file.write(b"\0" * 8)  # damage to the last tile is not looked at
    for channels, expected in whole.items():
        np.testing.assert_array_equal(read_image(path, channels, part), expected[part.slices])
    if values is not None:
        np.testing.assert_array_equal(read_values(path, part), values[part.slices])


def test_tiles_of_a_tiff_beyond_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpixel.data.formats.bounds.MAX_PIXELS", 32 * 32)
    for folder, bands in (("images", BANDS[..., :3]), ("masks", BANDS[..., 0] % 2)):
        for index in range(4):
            path = tmp_path / folder / f"{index}.tif"
            path.parent.mkdir(exist_ok=True)
            kind = "rgb" if bands.ndim == 3 else "minisblack"
            tifffile.imwrite(path, bands.astype(np.uint8), photometric=kind, tile=(16, 16), compression="zlib")
    split = Folder(str(tmp_path), ["a", "b"], tile=(32, 32), fractions=(0.5, 0.5, 0)).split("val")
    split.verify()
    np.testing.assert_array_equal(split.read(0, np.random.default_rng(0)).image, BANDS[:32, :32, :3].astype(np.uint8))
    with pytest.raises(ValueError, match=r"more than 1,024 pixels.*data\.source\.tile"):
        read_image(split.pairs[0].image)


@pytest.mark.parametrize("smaller", ["masks", "weights"])
def test_tiles_do_not_hide_files_of_another_size(tmp_path: Path, smaller: str) -> None:
    for folder, channels in (("images", 3), ("masks", 1), ("weights", 1)):
        side = 16 if folder == smaller else 32
        (tmp_path / folder).mkdir()
        for index in range(4):
            Image.new("RGB" if channels == 3 else "L", (side, side), 1).save(tmp_path / folder / f"{index}.png")
    split = Folder(str(tmp_path), ["a", "b"], tile=(16, 16), fractions=(0.5, 0.5, 0), weights="weights").split("val")
    with pytest.raises(ValueError, match=r"8 of 8 pairs are faulty:(.|\n)*16×16(.|\n)*same picture at the same size"):
        split.verify()
    for index in range(1, 4):
        with pytest.raises(ValueError, match=r"'.*\.png' is 16×16.*are asked for"):
            split.read(index, np.random.default_rng(0))


def test_windows_beyond_a_picture_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", BANDS[..., :3].astype(np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", BANDS[..., :3], photometric="rgb")
    Image.fromarray(BANDS[..., :3].astype(np.uint8)).save(tmp_path / "c.png")
    for name in ("a.tif", "b.tif", "c.png"):
        with pytest.raises(ValueError, match=r"is 67×83 \(H×W\), but rows 60…70"):
            read_image(tmp_path / name, 3, Window(60, 0, 10, 10))


def spoil_tiff(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil_png(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


SPOILT: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a truncated TIFF": ("tif", spoil_tiff, "cannot be decoded"),
    "a PNG broken inside": ("png", spoil_png, "cannot be decoded"),
    "holes": ("npy", lambda path: np.save(path, np.full((16, 16, 3), np.nan, np.float32)), "NaN or infinite"),
    "other channels": ("npy", lambda path: np.save(path, np.zeros((16, 16, 5), np.uint8)), "has 5 channels"),
    "another depth": ("npy", lambda path: np.save(path, np.zeros((16, 16, 3), np.uint16)), "is uint16, but"),
}


@pytest.mark.parametrize(("suffix", "spoil", "fault"), SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_whatever_would_fail_in_training_is_listed_before(
    tmp_path: Path, suffix: str, spoil: Callable[[Path], Any], fault: str, share: float
) -> None:
    pixels = BANDS[:16, :16, :3].astype(np.uint8)
    for key in ["val/0", *(f"train/{index}" for index in range(6))]:
        for folder, of in (("images", pixels), ("masks", pixels[..., 0] % 2)):
            path = tmp_path / folder / f"{key}.{suffix if folder == 'images' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, of) if suffix == "npy" and folder == "images" else Image.fromarray(of).save(path)
    spoil(tmp_path / "images" / "train" / f"2.{suffix}")
    options: dict[str, Any] = {"split": "folders", "mean": [0.5] * 3, "std": [0.5] * 3}
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"1 of 6 pairs are faulty:\n.*2\.{suffix}'.*{fault}"):
            Folder(str(tmp_path), ["a", "b"], **options).split("train").verify()
    if share:
        source = Folder(str(tmp_path), ["a", "b"], on_bad_file="skip", max_bad=share, **options)
        assert len(source.split("train")) == 5
        source.split("train").verify()


def test_what_nobody_foresaw_is_one_pairs_fault(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)])
    split = Folder(str(root), ["a", "b", "c"], split="folders", mean=[0.5] * 3, std=[0.5] * 3).split("train")

    def read(path: Path, *given: Any) -> Any:
        if path.stem == "1":
            raise raised("odd")
        return read_image(path, *given)

    monkeypatch.setattr("perpixel.data.files.inspection.read_image", read)
    raised: type[Exception] = AttributeError
    with pytest.raises(ValueError, match=r"1 of 3 pairs are faulty:\n'.*1\.png' and '.*\(AttributeError: odd\)"):
        split.verify()
    raised = MemoryError
    with pytest.raises(MemoryError):
        split.verify()


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize(("said", "holds"), [("-9999", True), ("-9999", False), ("0", True), (None, True)])
def test_values_that_a_raster_calls_no_data_are_told(
    make_folder: Callable[..., Path], dtype: str, said: str | None, holds: bool
) -> None:
    """Unless they are 0, which spoils nothing: it is what others are to be filled with."""
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)])
    heights = np.arange(1, 12 * 14 + 1).reshape(12, 14).astype(dtype)
    heights[:2, :3] = float(said or -9999) if holds else 7
    for path in sorted((root / "images").rglob("*.png")):
        tags = [(42113, "s", 0, said, True)] if said and "1" in path.name else []
        tifffile.imwrite(path.with_suffix(".tif"), heights, extratags=tags)
        path.unlink()
    options: dict[str, Any] = {"split": "folders", "channels": 1, "mean": [0.5], "std": [0.5]}
    split = Folder(str(root), ["a", "b", "c"], **options).split("train")
    if said == "-9999" and holds:
        with pytest.raises(ValueError, match=r"1 of 3 pairs are faulty:\n'.*1\.tif' holds -9999 in 6 pixels.*no data"):
            split.verify()
    else:
        split.verify()


@pytest.mark.parametrize(
    ("dtype", "said", "label", "one_band", "refused"),
    [
        ("uint16", "65535", 1, False, True),
        ("uint16", "65535", 255, False, False),
        ("uint16", "65535", 1, True, False),
        ("uint8", "255", 1, False, False),
        ("uint16", "0", 1, False, False),
    ],
)
def test_no_data_of_whole_numbers_is_told_where_it_would_be_learned(
    make_folder: Callable[..., Path], dtype: str, said: str, label: int, one_band: bool, refused: bool
) -> None:
    mask = np.eye(12, 14, dtype=np.uint8)
    mask[:2, :3] = label
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)], mask=lambda _: mask)
    image = np.full((12, 14, 3), 7, dtype)
    image[:2, :3, : 1 if one_band else 3] = int(said)
    for path in sorted((root / "images").rglob("*.png")):
        tags = [(42113, "s", 0, said, True)]
        tifffile.imwrite(path.with_suffix(".tif"), image, photometric="rgb", extratags=tags)
        path.unlink()
    split = Folder(str(root), ["a", "b"], split="folders", mean=[0.5] * 3, std=[0.5] * 3).split("train")
    told = r"3 of 3 pairs are faulty:\n'.*0\.tif' holds 65535 in 6 labelled pixels.*-unsetnodata"
    with pytest.raises(ValueError, match=told) if refused else nullcontext():
        split.verify()


@pytest.mark.parametrize("dtype", ["int16", "float64", ">i2"])
@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_heights_and_reflectances_are_read_as_float32(
    make_folder: Callable[..., Path], dtype: str, suffix: str
) -> None:
    """Signed 16-bit and float64 rasters keep their values, negative ones too, whole and by window, up to a batch."""
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)])
    values = np.linspace(-30_000, 30_000, 12 * 14 * 2).reshape(12, 14, 2).astype(dtype)
    for path in sorted((root / "images").rglob("*.png")):
        where = path.with_suffix(f".{suffix}")
        if suffix == "npy":
            np.save(where, values)
        else:
            tifffile.imwrite(where, values, photometric="minisblack", planarconfig="contig", tile=(16, 16))
        path.unlink()
    part = read_image(where, 2, Window(2, 3, 5, 7))
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, values[2:7, 3:10].astype(np.float32))
    source = Folder(str(root), ["a", "b", "c"], split="folders", channels=2, on_bad_file="skip")
    image = source.split("train").read(0, np.random.default_rng(0)).image
    np.testing.assert_array_equal(image, values.astype(np.float32))
    np.testing.assert_allclose(source.mean, values.mean((0, 1)), rtol=1e-3, atol=5)
    source.split("train").verify()


def test_what_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 4), 1e300))
    with pytest.raises(ValueError, match="16 values that are NaN or infinite"):
        read_image(tmp_path / "a.npy", 1)
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.int32))
    with pytest.raises(ValueError, match="int32 values: store images as uint8, uint16, int16, float32 or float64"):
        read_image(tmp_path / "a.npy", 1)


@pytest.mark.parametrize("mode", ["16-bit bands", "plain"])
def test_a_file_too_large_to_read_whole_says_how_to_read_it_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A tiled TIFF needs no saving again; a PNG does."""
    monkeypatch.setattr("perpixel.data.formats.bounds.MAX_PIXELS", 1000)
    pixels = BANDS if mode == "16-bit bands" else BANDS[..., :3].astype(np.uint8)
    path = tmp_path / "large.tif"
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack" if mode == "16-bit bands" else "rgb",
        planarconfig="contig",
        tile=(16, 16),
    )
    told = r"large\.tif' is 67×83 \(H×W\), more than 1,000 pixels: set data\.source\.tile=\[1024,1024\]"
    with pytest.raises(ValueError, match=told):
        read_image(path, pixels.shape[2])
    assert read_image(path, pixels.shape[2], Window(3, 4, 20, 30)).shape == (20, 30, pixels.shape[2])
    Image.fromarray(BANDS[..., :3].astype(np.uint8)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"save it as a TIFF with tiles or strips and set data\.source\.tile"):
        read_image(tmp_path / "large.png")


def test_bands_and_depth_count_towards_what_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = geotiff(tmp_path / "a.tif", planarconfig="contig", tile=(16, 16))
    monkeypatch.setattr("perpixel.data.formats.bounds.MAX_BYTES", BANDS.nbytes)
    assert read_image(path, 6).shape == BANDS.shape
    monkeypatch.setattr("perpixel.data.formats.bounds.MAX_BYTES", BANDS.nbytes - 1)
    with pytest.raises(ValueError, match=rf"a\.tif' takes {BANDS.nbytes:,} bytes.* set data\.source\.tile"):
        read_image(path, 6)
    assert read_image(path, 6, WINDOW).shape == (30, 41, 6)
