"""What ``predict`` leaves of each image: its mask, and the pictures and maps that were asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from perpixel.bundle.prediction import SMALL, Prediction
from perpixel.data.annotations.outlines import as_coco, as_geojson, as_geopackage, missing_packages
from perpixel.data.formats.geotiff import GeoTiff, GeoTiffWriter, can_write, is_georeferenced, read_tag
from perpixel.data.formats.png import read_text
from perpixel.data.formats.png_writer import PngWriter
from perpixel.data.formats.video import VideoReader, VideoWriter, is_video, read_comment, writing
from perpixel.labels import LabelSpace
from perpixel.tracking.files import make_directory, replacing, write_atomically
from perpixel.windows import Window
from perpixel.workflows.inputs import Input

RECORD = "predict.json"
KEYWORD = "perpixel"
"""Of the text in a mask's PNG that says which file it is of."""

_HEAD = 1 << 14  # bytes of a PNG in which its texts stand

UNLABELLED = (255, 65535)
"""Value of a GeoTIFF mask where its raster has no pixels, in 8 and 16 bits; no class has it."""

Write = Callable[[Window, Prediction], None]
WriteFrame = Callable[[Prediction, int], None]
WriteMask = Callable[[Window, npt.NDArray[np.unsignedinteger[Any]]], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Maps:
    """What is written beside masks.

    Attributes:
        overlays: PNG, the image under the classes' colours.
        confidence: PNG, grey, the probability of the predicted class, 255 for 1.
        entropy: PNG, grey, 255 where all classes are equal.
        probabilities: NumPy, (K, H, W) float16.
        polygons: ``geojson``, ``gpkg`` or ``coco``, outlines of the classes; the whole mask is held for them. None
            writes none.
        polygon_tolerance: pixels by which the outlines of ``geojson`` and ``gpkg`` may be simplified.
    """

    overlays: bool = True
    confidence: bool = False
    entropy: bool = False
    probabilities: bool = False
    polygons: str | None = None
    polygon_tolerance: float = 0.0

    def check(self) -> None:
        """Refuse outlines that cannot be written.

        Raises:
            ValueError: their format is unknown, or needs packages that are not installed.
        """
        if self.polygons is not None and (missing := missing_packages(self.polygons)):
            raise ValueError(f"polygons={self.polygons} needs {', '.join(missing)}: pip install 'perpixel[geo]'.")
        if self.polygon_tolerance < 0:
            raise ValueError(f"polygon_tolerance={self.polygon_tolerance}: give pixels, 0 or more.")


class PredictedFiles:
    """The output folder: ``masks/<name>.png`` and, beside it, a folder for each kind of map.

    A mask is written last and carries the name, size and time of its image: where it is, all of that image is done.

    Args:
        output: the folder; it is made with the first file.
        labels: the classes.
        values: what is stored for each class; None stores its index.
        maps: what is written beside masks.
    """

    def __init__(self, output: Path, labels: LabelSpace, values: tuple[int, ...] | None, maps: Maps) -> None:
        self.output = output
        self.labels = labels
        self.maps = maps
        self.values = tuple(range(labels.num_classes)) if values is None else values
        if min(self.values) < 0 or max(self.values) >= 1 << 16:
            raise ValueError(f"ids=original: masks hold 0…65535, but the classes have the ids {list(self.values)}.")
        self.dtype = np.dtype(np.uint8 if max(self.values) < SMALL else np.uint16)
        self._ground = can_write()
        self._told = False

    def open(self, settings: Mapping[str, Any]) -> None:
        """Take the folder, new or of a prediction of the same settings, and say in ``predict.json`` what it holds.

        Raises:
            ValueError: it holds other files, or predictions of another model or with other settings.
        """
        record = {
            "classes": list(self.labels.names),
            "palette": [list(colour) for colour in self.labels.palette],
            "values": list(self.values),
            **settings,
        }
        path = self.output / RECORD
        if path.is_file():
            self._refuse_other(json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(record)))
            return
        if self.output.is_dir() and any(not one.name.startswith(".") for one in self.output.iterdir()):
            raise ValueError(
                f"output={self.output} holds files that are no predictions (it has no {RECORD}): choose a new folder, "
                "so that nothing is overwritten."
            )
        make_directory(self.output)
        write_atomically(path, json.dumps(record, indent=1) + "\n")

    def is_finished(self, image: Input) -> bool:
        """Whether all that is asked for is there.

        Raises:
            ValueError: a mask of that name is there that was made of another file, or of one that has changed since.
            OSError: the image is not there.
        """
        path = self.mask_path(image)
        stamp = _stamp(image.path)
        if not path.is_file():
            return False
        if _stamp_in(path) != stamp:
            raise ValueError(
                f"'{path}' was made of another file than '{image.path}', or the file has changed since: remove it to "
                "have it made again, or choose another output."
            )
        if is_video(image.path):
            return not self.maps.overlays or self.video_path(image).is_file()
        kinds = [*self._kinds, *(["polygons"] if self.maps.polygons else [])]
        return all(self._path(kind, image.name).is_file() for kind in kinds)

    @contextmanager
    def writing(self, image: Input, shape: tuple[int, int], ground: GeoTiff | None = None) -> Iterator[Write]:
        """Write an image's files in bands of rows; where the block fails, none of them is left.

        Args:
            image: what they are made of.
            shape: (H, W).
            ground: where the image lies, of one whose mask is a GeoTIFF.

        Yields:
            Called with each band from the top.
        """
        with ExitStack() as stack:
            # The mask is closed last, and so takes its name when all else has.
            write_mask = stack.enter_context(self._mask(image, shape, ground))
            files = [stack.enter_context(_opened(self._path(kind, image.name))) for kind in self._kinds]
            writers = [self._writer(kind, file, shape) for kind, file in zip(self._kinds, files, strict=True)]

            whole: list[npt.NDArray[Any]] | None = [] if self.maps.polygons else None
            outlines = stack.enter_context(_opened(self._path("polygons", image.name))) if self.maps.polygons else None

            def write(window: Window, prediction: Prediction) -> None:
                mask = self.stored(prediction.mask)
                write_mask(window, mask)
                for writer in writers:
                    writer(window, prediction)
                if whole is not None:
                    valid = None if ground is None else ground.valid(window)
                    whole.append(mask if valid is None else np.where(valid, mask, UNLABELLED[-1]).astype(np.uint16))

            yield write
            if whole is not None and outlines is not None:
                outlines.write(self._outlines(np.concatenate(whole), image, ground))

    def _outlines(self, mask: npt.NDArray[Any], image: Input, ground: GeoTiff | None) -> bytes:
        if self.maps.polygons == "coco":
            return json.dumps(as_coco(mask, self.values, self.labels.names, image.path.name)).encode()
        place = None if ground is None else ground.source
        if self.maps.polygons == "gpkg":
            return as_geopackage(mask, self.values, self.labels.names, self.maps.polygon_tolerance, place)
        return json.dumps(as_geojson(mask, self.values, self.labels.names, self.maps.polygon_tolerance, place)).encode()

    def stored(self, mask: npt.NDArray[np.unsignedinteger[Any]]) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Class indices → what masks hold."""
        return np.asarray(np.take(np.asarray(self.values, self.dtype), mask))

    @property
    def _kinds(self) -> list[str]:
        return [kind for kind in ("overlays", "confidence", "entropy", "probabilities") if getattr(self.maps, kind)]

    def _path(self, kind: str, name: str) -> Path:
        outlines = "json" if self.maps.polygons == "coco" else str(self.maps.polygons)
        ending = {"probabilities": "npy", "polygons": outlines}
        return self.output / kind / f"{name}.{ending.get(kind, 'png')}"

    def mask_path(self, image: Input) -> Path:
        """Of an image's mask: a GeoTIFF for one that has a place on the ground, Matroska for a video, else a PNG."""
        path = self._path("masks", image.name)
        if is_video(image.path):
            return path.with_name(f"{Path(image.name).name}.mkv")
        return path.with_name(f"{Path(image.name).name}.tif") if self.is_on_ground(image.path) else path

    def video_path(self, image: Input) -> Path:
        """Of a video under the classes' colours."""
        path = self._path("overlays", image.name)
        return path.with_name(f"{Path(image.name).name}.mp4")

    @contextmanager
    def writing_video(self, video: Input, reader: VideoReader, shape: tuple[int, int]) -> Iterator[WriteFrame]:
        """Write a video's mask and, where overlays are asked for, the video under the colours; whole or not at all.

        Args:
            video: what they are made of.
            reader: gives the frames' times.
            shape: (H, W) of the frames.

        Yields:
            Called with each frame's prediction and time.

        Raises:
            ValueError: maps are asked for that a video does not get.
        """
        wanted = [kind for kind in self._kinds if kind != "overlays"]
        if wanted or self.maps.polygons:
            names = ", ".join([*wanted, *(["polygons"] if self.maps.polygons else [])])
            raise ValueError(f"'{video.path}' is a video, of which masks and overlays are written: leave out {names}.")
        with ExitStack() as stack:
            file = stack.enter_context(_opened(self.mask_path(video)))
            masks = stack.enter_context(writing(VideoWriter(file, shape, reader, self.dtype, _stamp(video.path))))
            film = None
            if self.maps.overlays:
                opened = stack.enter_context(_opened(self.video_path(video)))
                film = stack.enter_context(writing(VideoWriter(opened, shape, reader)))

            def write(prediction: Prediction, pts: int) -> None:
                masks.write(self.stored(prediction.mask), pts)
                if film is not None:
                    film.write(prediction.overlay(), pts)

            yield write

    def is_on_ground(self, path: Path) -> bool:
        """Whether a file's mask is a GeoTIFF; says once where it cannot be for lack of a package."""
        if not is_georeferenced(path):
            return False
        if not self._ground and not self._told:
            self._told = True
            log.warning(
                "'%s' has a place on the ground, which a PNG cannot keep: pip install 'perpixel[geo]' for GeoTIFFs.",
                path,
            )
        return self._ground

    @contextmanager
    def _mask(self, image: Input, shape: tuple[int, int], ground: GeoTiff | None) -> Iterator[WriteMask]:
        stamp = _stamp(image.path)
        with _opened(self.mask_path(image)) as file:
            if ground is None:
                png = PngWriter(file, shape, self.dtype, palette=self._palette, text={KEYWORD: stamp})
                yield lambda _, mask: png.write(mask)
                return
            dtype = np.uint8 if max(self.values) < UNLABELLED[0] else np.uint16
            unlabelled = UNLABELLED[dtype == np.uint16]
            palette = self._palette if dtype == np.uint8 else None
            raster = GeoTiffWriter(Path(file.name), ground, dtype, unlabelled, palette, {KEYWORD: stamp})
            try:
                yield lambda window, mask: raster.write(window, mask.astype(dtype))
            except BaseException:
                raster.abandon()
                raise
            raster.close()

    @property
    def _palette(self) -> npt.NDArray[np.uint8] | None:
        """A colour for each of 256 values; None where masks hold greater ones."""
        if self.dtype != np.uint8:
            return None
        palette = np.full((SMALL, 3), 255, np.uint8)
        palette[list(self.values)] = self.labels.palette
        return palette

    def _writer(self, kind: str, file: BinaryIO, shape: tuple[int, int]) -> Write:
        if kind == "probabilities":
            return _probability_writer(file, (self.labels.num_classes, *shape))
        picture = PngWriter(file, shape, bands=3 if kind == "overlays" else 1)
        if kind == "overlays":
            return lambda _, prediction: picture.write(prediction.overlay())
        return lambda _, prediction: picture.write(_grey(getattr(prediction, kind)))

    def _refuse_other(self, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        for key, value in asked.items():
            if found.get(key) != value:
                raise ValueError(
                    f"output={self.output} holds predictions with {key}={found.get(key)}, but {key}={value} is asked "
                    "for: choose another output, or the same settings to go on."
                )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    make_directory(path.parent)
    with replacing(path) as file:
        yield file


def _stamp_in(path: Path) -> str | None:
    """Of which file a mask is, as it says itself."""
    if path.suffix == ".tif":
        return read_tag(path, KEYWORD)
    if path.suffix == ".mkv":
        return read_comment(path)
    with path.open("rb") as file:
        return read_text(file.read(_HEAD), KEYWORD)


def _stamp(path: Path) -> str:
    """Which file: name, bytes and time of the last change, in ASCII."""
    status = path.stat()
    return json.dumps({"file": path.name, "bytes": status.st_size, "changed_ns": status.st_mtime_ns})


def _grey(share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """0…1 → 0…255."""
    return np.asarray(np.rint(share.clip(0, 1) * 255), np.uint8)


def _probability_writer(file: BinaryIO, shape: tuple[int, int, int]) -> Write:
    """(K, H, W) float16 as NumPy stores it; each band goes to its place in every class."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
    start = file.tell()
    _, height, width = shape

    def write(window: Window, prediction: Prediction) -> None:
        for index, plane in enumerate(prediction.probabilities.astype("<f2")):
            file.seek(start + 2 * (index * height * width + window.top * width))
            file.write(plane.tobytes())

    return write
