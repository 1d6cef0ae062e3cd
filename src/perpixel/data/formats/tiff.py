"""TIFFs that Pillow would narrow to 8 bits, refuse or decode whole: any depth and number of bands, read by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

from perpixel.data.formats.decompression_limits import harmless, needed_package
from perpixel.data.formats.orientation import TAG as ORIENTATION
from perpixel.data.formats.orientation import as_stored, orientation_in_xmp, upright, upright_shape
from perpixel.windows import Window

Array = npt.NDArray[Any]
_OLD_JPEG, _JPEG = 6, 7
_XMP = 700
_PICTURE_BANDS = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}


class TiffHeader(NamedTuple):
    """What the header says.

    Attributes:
        shape: (H, W), upright.
        orientation: as it is stored (see ``perpixel.data.formats.orientation``).
        pages: pictures of one size and depth that stand first; overviews and masks do not count.
        bands: samples per pixel, of all pages.
        pixel_bytes: of a pixel, decoded, with all its bands.
        plain: one 8-bit picture (grey, palette, RGB, CMYK, with alpha or not): Pillow reads all compressions of these.
        by_window: whether ``read_tiff`` gives the same pixels of a plain picture as Pillow, and so parts of it too.
        blurred: whether it is compressed as JPEG, which changes values.
        palette: 256 RGB triples, where indices of such are stored.
        needs: the package that its compression needs to be read by window, where it is not installed.
        white_is_zero: of grey, the largest value, which then is black; 0 where black is 0.
        no_data: what stands where nothing was measured (GDAL_NODATA); 0 where nothing is said.
    """

    shape: tuple[int, int]
    orientation: int
    pages: int
    bands: int
    pixel_bytes: int
    plain: bool
    by_window: bool
    blurred: bool
    palette: bytes | None
    needs: str
    white_is_zero: int
    no_data: float


def tiff_header(path: Path) -> TiffHeader:
    """The header of a TIFF.

    Raises:
        ValueError: the file is damaged.
    """
    with _pages(path) as pages:
        page = pages[0]
        kinds = [kind.name for kind in page.extrasamples]
        alpha = sum(kind in ("ASSOCALPHA", "UNASSALPHA") for kind in kinds)
        bands = _PICTURE_BANDS.get(page.photometric.name)
        colours = alpha <= 1 and page.samplesperpixel - alpha == bands
        plain = bool(len(pages) == 1 and page.bitspersample <= 8 and colours)
        needs = needed_package(page.compression)
        alike = page.dtype == np.uint8 and page.bitspersample == 8 and _is_stored_as_shown(page)
        white_is_zero = page.photometric.name == "MINISWHITE" and page.samplesperpixel == 1
        return TiffHeader(
            upright_shape((int(page.imagelength), int(page.imagewidth)), _orientation(page)),
            _orientation(page),
            len(pages),
            len(pages) * int(page.samplesperpixel),
            len(pages) * int(page.samplesperpixel) * (page.dtype.itemsize if page.dtype else 1),
            plain,
            plain and alike and "ASSOCALPHA" not in kinds and not needs,
            page.compression in (_OLD_JPEG, _JPEG),
            (page.colormap.T // 256).astype(np.uint8).tobytes() if page.photometric.name == "PALETTE" else None,
            needs,
            (1 << int(page.bitspersample)) - 1 if white_is_zero else 0,
            page.nodata,
        )


def _is_stored_as_shown(page: Any) -> bool:
    """Whether decoded segments are grey, indices or RGB: JPEG's decoder gives RGB, whatever it stores."""
    if page.compression == _JPEG:
        return page.photometric.name in ("MINISBLACK", "RGB", "YCBCR")
    return page.photometric.name in ("MINISBLACK", "PALETTE", "RGB") and page.compression != _OLD_JPEG


def read_tiff(path: Path, window: Window | None = None) -> Array:
    """Decode a TIFF, or only the strips and tiles that a window touches.

    Returns:
        (H, W, C) in the file's depth, upright; values as stored, bands in the file's order, be they interleaved, apart
        or pages; of a palette the indices, (H, W, 1).

    Raises:
        ValueError: the file is damaged or cut short, or its compression needs a package that is not installed.
    """
    with _pages(path) as pages:
        if package := needed_package(pages[0].compression):
            raise tifffile.TiffFileError(f"{pages[0].compression!r} requires the '{package}' package")
        shape, orientation = (pages[0].imagelength, pages[0].imagewidth), _orientation(pages[0])
        part = Window(*(as_stored(window, shape, orientation) if window else (0, 0, *shape)))
        stored = [_read_window(page, part) for page in pages]
        return upright(stored[0] if len(stored) == 1 else np.concatenate(stored, axis=2), orientation)


def _is_alike(first: Any, page: Any) -> bool:
    return page.shape == first.shape and page.dtype == first.dtype and not (page.is_reduced or page.is_mask)


def _orientation(page: Any) -> int:
    tag = page.tags.get(ORIENTATION)
    if tag is not None:
        return int(tag.value)
    return orientation_in_xmp(bytes(page.tags[_XMP].value)) if _XMP in page.tags else 1


def _read_window(page: Any, window: Window) -> Array:
    """Segments of no bytes are GDAL's for where nothing was measured."""
    result = np.full((window.height, window.width, page.samplesperpixel), page.nodata, page.dtype)
    declared = math.prod(_grid(page)) * page.samplesperpixel * page.dtype.itemsize
    file = page.parent.filehandle
    for index in range(len(page.dataoffsets)):
        if not page.databytecounts[index] or not _touches(page, index, window):
            continue
        file.seek(page.dataoffsets[index])
        data = file.read(page.databytecounts[index])
        if len(data) < page.databytecounts[index]:
            raise tifffile.TiffFileError(f"segment {index} is cut short")
        data = harmless(data, page.compression, declared, index)
        segment, position, shape = page.decode(data, index, jpegtables=page.jpegtables)
        _paste(result, window, segment[0, : shape[1], : shape[2]], position)
    return result


def _grid(page: Any) -> tuple[int, int]:
    """(H, W) of a segment: a tile, or a strip as wide as the image."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _touches(page: Any, index: int, window: Window) -> bool:
    height, width = _grid(page)
    across, down = -(-page.imagewidth // width), -(-page.imagelength // height)
    row, column = divmod(index % (across * down), across)
    top, left = row * height, column * width
    apart_rows = top >= window.top + window.height or top + height <= window.top
    apart_columns = left >= window.left + window.width or left + width <= window.left
    return not (apart_rows or apart_columns)


def _paste(result: Array, window: Window, segment: Array, position: tuple[int, ...]) -> None:
    """Copy what a segment, (H, W, bands), shares with the window."""
    band, _, top, left, _ = position
    rows = slice(max(top, window.top), min(top + segment.shape[0], window.top + window.height))
    columns = slice(max(left, window.left), min(left + segment.shape[1], window.left + window.width))
    bands = slice(band, band + segment.shape[2])
    result[
        rows.start - window.top : rows.stop - window.top,
        columns.start - window.left : columns.stop - window.left,
        bands,
    ] = segment[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


@contextmanager
def _pages(path: Path) -> Iterator[list[Any]]:
    """The first picture of a file, and those like it that follow; whatever tifffile raises becomes an error that names
    the file and the mend."""
    try:
        with tifffile.TiffFile(path) as file:
            first: Any = file.pages[0]
            if 0 in (shape := (first.imagelength, first.imagewidth)):
                raise tifffile.TiffFileError(f"it holds no pixels: it is {shape[0]}×{shape[1]} (H×W)")
            yield [first, *takewhile(partial(_is_alike, first), islice(file.pages, 1, None))]
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except Exception as error:  # a damaged file shows as whatever its bytes lead to, from zlib.error to MemoryError
        if "'imagecodecs' package" in str(error):
            raise ValueError(
                f"'{path}' is compressed in a way that needs another package ({error.args[0]}): "
                "pip install 'perpixel[geo]', or save it again with deflate compression."
            ) from None
        raise ValueError(f"'{path}' cannot be decoded ({error}): copy it again, or remove it.") from None
