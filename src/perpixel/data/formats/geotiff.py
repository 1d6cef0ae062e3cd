"""GeoTIFFs by window, in and out: what is known of the ground (transform, CRS, nodata, overviews) stays with the mask.

Needs ``rasterio`` (the extra ``geo``), which is imported where a georeferenced file is met.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from perpixel.data.formats.suffixes import TIFF_SUFFIXES
from perpixel.windows import Rectangle, Window, Windowed

Array = npt.NDArray[Any]

_PLACED = (33550, 33922, 34264)
"""Tags that place a raster on the ground: pixel scale, tie points, transformation (OGC GeoTIFF 1.1)."""

_ORIENTATION = 274
_BLOCK = 256
_CACHE = 64 << 20
"""Bytes of decoded blocks that GDAL keeps; its own choice is a share of the machine's memory."""


def is_georeferenced(path: Path) -> bool:
    """Whether a file is a TIFF with a place on the ground, stored upright."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return False
    try:
        with tifffile.TiffFile(path) as file:
            tags: Any = file.pages[0].tags  # type: ignore[union-attr]
            turned = tags.get(_ORIENTATION)
            return any(tag in tags for tag in _PLACED) and (turned is None or int(turned.value) == 1)
    except Exception:  # damaged in any way: the decoder says how
        return False


def can_write() -> bool:
    """Whether ``rasterio`` is installed."""
    return find_spec("rasterio") is not None


class GeoTiff:
    """A raster with a place on the ground.

    Args:
        source: an opened rasterio dataset.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.shape: tuple[int, int] = (int(source.height), int(source.width))
        flags = {flag.name for band in source.mask_flag_enums for flag in band}
        self.all_valid = flags == {"all_valid"}

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[GeoTiff]:
        """Open a file.

        Raises:
            ValueError: it is damaged.
        """
        import rasterio

        with rasterio.Env(GDAL_CACHEMAX=_CACHE), ExitStack() as stack:
            try:
                source = stack.enter_context(rasterio.open(path, driver="GTiff"))
            except rasterio.errors.RasterioIOError as error:
                raise ValueError(f"'{path}' cannot be decoded ({error}): copy it again, or remove it.") from None
            yield cls(source)

    @property
    def is_float(self) -> bool:
        """Whether NaN can say that nothing was measured."""
        return bool(np.dtype(self.source.dtypes[0]).kind == "f")

    def windowed(self) -> Windowed:
        """Its pixels, (h, w, C) by window; where nothing was measured and NaN says so, they are 0."""
        return Windowed(self.shape, self._read)

    def valid(self, window: Window) -> npt.NDArray[np.bool_] | None:
        """(h, w), False where nothing was measured; None where all was."""
        if self.all_valid:
            return None
        return np.asarray(self.source.dataset_mask(window=_slices(window)) != 0)

    def _read(self, part: Rectangle) -> Array:
        pixels = np.moveaxis(self.source.read(window=_slices(Window(*part))), 0, 2)
        valid = self.valid(Window(*part))
        if valid is not None:
            pixels = np.where(np.isnan(pixels) & ~valid[..., None], pixels.dtype.type(0), pixels)
        return np.ascontiguousarray(pixels)


class GeoTiffWriter:
    """Writes a mask in the place of a raster, in deflated tiles, with a colour table, and overviews where it has them.

    Args:
        path: of the mask.
        like: the raster.
        dtype: uint8 or uint16.
        unlabelled: the mask's nodata value.
        palette: (N, 3) RGB of the values 0…N−1, for uint8.
        tags: texts by name.
    """

    def __init__(
        self,
        path: Path,
        like: GeoTiff,
        dtype: npt.DTypeLike,
        unlabelled: int,
        palette: Sequence[Sequence[int]] | Array | None,
        tags: dict[str, str],
    ) -> None:
        import rasterio

        self.path = path
        self.like = like
        self.unlabelled = unlabelled
        height, width = like.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            self.target: Any = rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=1,
                dtype=np.dtype(dtype).name,
                crs=like.source.crs,
                transform=like.source.transform,
                nodata=unlabelled,
                compress="deflate",
                bigtiff="IF_SAFER",
                **({"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK} if min(height, width) >= _BLOCK else {}),
            )
        self.target.update_tags(**tags)
        if palette is not None:
            self.target.write_colormap(1, {value: (*map(int, colour), 255) for value, colour in enumerate(palette)})

    def write(self, window: Window, mask: Array) -> None:
        """Write (h, w) values; where the raster has no pixels the mask gets its nodata value."""
        valid = self.like.valid(window)
        stored = mask if valid is None else np.where(valid, mask, mask.dtype.type(self.unlabelled))
        self.target.write(stored, 1, window=_slices(window))

    def close(self) -> None:
        """Finish the file; overviews take the nearest pixel, since classes have no mean."""
        import rasterio

        factors = self.like.source.overviews(1)
        self.target.close()
        if factors:
            with rasterio.open(self.path, "r+") as target:
                target.build_overviews(factors, rasterio.enums.Resampling.nearest)

    def abandon(self) -> None:
        """Close without finishing."""
        self.target.close()


def read_tag(path: Path, name: str) -> str | None:
    """A text that a GeoTIFF carries."""
    import rasterio

    with rasterio.open(path) as source:
        found = source.tags().get(name)
        return None if found is None else str(found)


def _slices(window: Window) -> Any:
    from rasterio.windows import Window as RasterWindow

    return RasterWindow(window.left, window.top, window.width, window.height)
