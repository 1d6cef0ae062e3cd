"""Label files: the images of a folder, a glob or a list, each by itself, whatever befalls the others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from perpixel.bundle import Prediction, Predictor
from perpixel.bundle.bundle import DESCRIPTION, find_bundle
from perpixel.data.formats.decode import image_shape
from perpixel.data.formats.geotiff import GeoTiff
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES
from perpixel.data.formats.video import VideoReader, is_video
from perpixel.data.formats.windowed import open_windowed
from perpixel.inference.refine import Refinement
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.inference.smoothing import Smoothing
from perpixel.reporting.progress import ImageProgress
from perpixel.tracking.files import write_atomically
from perpixel.windows import Window
from perpixel.workflows.inputs import Input, find_inputs, shard_of
from perpixel.workflows.load import load_predictor
from perpixel.workflows.predicted_files import Maps, PredictedFiles

log = logging.getLogger(__name__)

WHOLE_PIXELS = 1 << 22
"""Of an image that the network sees whole, as in training's evaluation, where no window is given (2048×2048)."""

ANIMATED = ("PNG", "WEBP", "GIF")
"""Formats whose further pictures are frames; a camera's JPEG holds a preview of the same picture."""


class BadInput(ValueError):
    """A file that cannot be labelled; the others can."""


@dataclass
class Outcome:
    """What became of the inputs.

    Attributes:
        done: files that were labelled now.
        skipped: files whose masks were there already.
        bad: what is wrong with the others, by path.
        list_of_bad: the file that lists them; None where there are none.
    """

    done: int = 0
    skipped: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    list_of_bad: Path | None = None


@dataclass(frozen=True)
class Request:
    """What ``predict`` is asked for.

    Attributes:
        models: run directories or bundles; several are averaged.
        inputs: see :func:`~perpixel.workflows.inputs.find_inputs`.
        output: the folder for the results.
        ids: ``index`` or ``original``, the values of the masks.
        maps: what is written beside masks.
        window: see :class:`Predictor`.
        tta: see :class:`Predictor`.
        refine: see :class:`Predictor`; all of an image and its probabilities are then held.
        smoothing: over the frames of a video, see :class:`~perpixel.inference.smoothing.Smoothing`.
        shard: ``3/64`` for every 64th image from the fourth on.
        device, precision: see :func:`~perpixel.workflows.load.load_predictor`.
    """

    models: Sequence[Path]
    inputs: str | Sequence[str]
    output: Path
    ids: str = "index"
    maps: Maps = field(default_factory=Maps)
    window: SlidingWindow | None = None
    tta: Sequence[str | float] = ()
    refine: Refinement = field(default_factory=Refinement)
    smoothing: float = 0.0
    shard: str | None = None
    device: str = "auto"
    precision: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a mask's pixels, for the record beside them."""
        return {
            "models": [_identity(path) for path in self.models],
            "ids": self.ids,
            "window": None if self.window is None else asdict(self.window) | {"batch_size": None},
            "tta": list(self.tta),
            "refine": None if self.refine.is_nothing else asdict(self.refine),
            "smoothing": self.smoothing,
            "precision": self.precision,
        }


def predict_files(request: Request) -> Outcome:
    """Label all images of a request that are not labelled yet.

    A file that is damaged, or no image for this model, is named and left out; what is written is whole or absent.

    Raises:
        ValueError: the request is impossible; nothing has been written.
        OSError: the output cannot be written to (its disk is full); what was finished before is there.
    """
    if request.ids not in ("index", "original"):
        raise ValueError(f"ids={request.ids}: choose index (the classes' numbers) or original (what masks stored).")
    request.maps.check()
    Smoothing(request.smoothing)  # refuses an impossible share
    output = request.output
    _refuse_input_folder(request)
    inputs = find_inputs(request.inputs, output)
    _refuse_images_within(output, inputs)
    chosen = shard_of(inputs, request.shard)
    predictor = load_predictor(
        request.models,
        request.device,
        request.precision,
        window=request.window,
        tta=request.tta,
        refine=request.refine,
    )
    files = PredictedFiles(output, predictor.spec.labels, _values(predictor, request), request.maps)
    files.open(request.settings)
    outcome = Outcome()
    with ImageProgress(len(chosen)) as progress:
        for one in chosen:
            try:
                if _is_finished(files, one):
                    outcome.skipped += 1
                elif is_video(one.path):
                    _predict_video(predictor, files, one, Smoothing(request.smoothing))
                    outcome.done += 1
                else:
                    _predict_one(predictor, files, one)
                    outcome.done += 1
            except BadInput as error:
                outcome.bad[str(one.path)] = str(error)
                log.warning("skipped: %s", error)
            progress.step()
        speed = progress.speed
    outcome.list_of_bad = _list_bad(output, request.shard, outcome.bad)
    log.info(
        "%d images labelled, %d were already, %d could not be; %.3g images/s. Masks: %s",
        outcome.done,
        outcome.skipped,
        len(outcome.bad),
        speed,
        output / "masks",
    )
    return outcome


def predicted_bands(
    predictor: Predictor, path: Path, ground: GeoTiff | None = None
) -> tuple[tuple[int, int], Iterator[tuple[Window, Prediction]]]:
    """(H, W) of an image file and its prediction in bands: one where the network sees it whole.

    A raster in which NaN marks what was not measured (``ground``) is read without them.

    Raises:
        BadInput: the file cannot be read, or is no image for this model; also while the bands are made.
    """
    with _bad_inputs(path):
        refuse_unread(path)
        shape = image_shape(path)

    def bands() -> Iterator[tuple[Window, Prediction]]:
        with _bad_inputs(path), predictor.naming_channels(path):
            by_window = ground.windowed() if ground is not None and ground.is_float else None
            is_large = shape[0] * shape[1] > WHOLE_PIXELS
            if (predictor.window is None and not is_large) or not predictor.refine.is_nothing:
                whole = path if by_window is None else by_window[0 : shape[0], 0 : shape[1]]
                yield Window(0, 0, *shape), (predictor.by_window() if is_large else predictor).predict(whole, path)
                return
            image = open_windowed(path, predictor.spec.in_channels) if by_window is None else by_window
            yield from predictor.stream(image, path)

    return shape, bands()


def refuse_unread(path: Path) -> None:
    """Refuse pictures of which it is not clear what to label.

    Raises:
        ValueError: the ending is none of a format that is read, or the file is animated.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(
            f"'{path}' ends in '{path.suffix}': images that are read end in {', '.join(IMAGE_SUFFIXES)}. Convert it."
        )
    if path.suffix.lower() not in (".png", ".webp"):
        return
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1) if picture.format in ANIMATED else 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return  # the decoder says what is wrong
    if frames > 1:
        raise ValueError(f"'{path}' is animated ({frames} frames), and which is meant is not known: save one of them.")


def _predict_one(predictor: Predictor, files: PredictedFiles, image: Input) -> None:
    with ExitStack() as stack:
        with _bad_inputs(image.path):
            on_ground = files.is_on_ground(image.path)
            ground = stack.enter_context(GeoTiff.open(image.path)) if on_ground else None
        shape, bands = predicted_bands(predictor, image.path, ground)
        write = stack.enter_context(files.writing(image, shape, ground))
        for window, prediction in bands:
            write(window, prediction)


def _predict_video(predictor: Predictor, files: PredictedFiles, video: Input, smoothing: Smoothing) -> None:
    began, count = time.monotonic(), 0
    with ExitStack() as stack:
        with _bad_inputs(video.path):
            reader = stack.enter_context(VideoReader(video.path))
            if predictor.spec.in_channels != 3:
                raise ValueError(
                    f"'{video.path}' is a video in colours, but the model was trained on images of "
                    f"{predictor.spec.in_channels} channels."
                )
        frames = iter(reader)
        with _bad_inputs(video.path):
            if (frame := next(frames, None)) is None:
                raise ValueError(f"'{video.path}' holds no frames.")
            shape = frame.pixels.shape[:2]
            write = stack.enter_context(files.writing_video(video, reader, shape))
        is_large = shape[0] * shape[1] > WHOLE_PIXELS
        seeing = predictor.by_window() if is_large else predictor
        while frame is not None:
            with _bad_inputs(video.path):
                found = seeing.predict(frame.pixels, video.path)
            smooth = replace(found, logits=smoothing(found.logits, frame.pixels))
            write(smooth, frame.pts)
            count += 1
            with _bad_inputs(video.path):
                frame = next(frames, None)
    seconds = count / float(reader.rate)
    log.info(
        "%s: %d frames, %.1f s at %.3g a second; %.2f× real time%s",
        *(video.path, count, seconds, float(reader.rate), seconds / max(time.monotonic() - began, 1e-9)),
        f"; {smoothing.cuts} cuts" if smoothing.share else "",
    )


def _is_finished(files: PredictedFiles, image: Input) -> bool:
    with _bad_inputs(image.path):
        return files.is_finished(image)


@contextmanager
def _bad_inputs(path: Path) -> Iterator[None]:
    """What reading or labelling a file raises is the file's fault; what writing raises passes."""
    try:
        yield
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"'{path}' does not exist.") from None
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise BadInput(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise BadInput(
            f"'{path}' takes more memory than there is: show it to the network by windows, window=512 or smaller."
        ) from error


def _refuse_input_folder(request: Request) -> None:
    """Results among the images would be taken for images the next time."""
    given, output = request.inputs, request.output
    if isinstance(given, str) and Path(given).expanduser().resolve() == output.resolve():
        raise ValueError(f"output={output} is the input folder: choose another, and no image is overwritten.")


def _refuse_images_within(output: Path, inputs: Sequence[Input]) -> None:
    """Of a list, or of a folder within the output's; a result could take an image's name."""
    inside = next((one.path for one in inputs if one.path.absolute().is_relative_to(output.absolute())), None)
    if inside is not None:
        raise ValueError(f"'{inside}' lies in output={output}: choose another, and no image is overwritten.")


def _values(predictor: Predictor, request: Request) -> tuple[int, ...] | None:
    if request.ids == "index":
        return None
    if predictor.spec.original_ids is None:
        raise ValueError(
            "ids=original: the masks that the model was trained on hold no number for each class (they are colours or "
            "shapes, or the model is older): choose ids=index; predict.json names the classes."
        )
    return predictor.spec.original_ids


def _identity(path: Path) -> str:
    """SHA-256 of a model's weights, wherever it lies."""
    described = json.loads((find_bundle(path) / DESCRIPTION).read_text(encoding="utf-8"))
    return str(described.get("weights", {}).get("sha256"))


def _list_bad(output: Path, shard: str | None, bad: Mapping[str, str]) -> Path | None:
    """A line per file; the list of an earlier attempt goes."""
    path = output / ("bad_files.txt" if shard is None else f"bad_files_{shard.replace('/', '-')}.txt")
    if not bad:
        path.unlink(missing_ok=True)
        return None
    write_atomically(path, "".join(f"{reason}\n" for reason in bad.values()))
    return path
