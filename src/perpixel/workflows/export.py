"""Export a trained model, compare it with the original on real images, and only then let it take its name."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.bundle.bundle import find_bundle
from perpixel.config import build, read_run_config
from perpixel.data import DataSource
from perpixel.data.files.statistics import evenly
from perpixel.data.formats.decode import read_image
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES
from perpixel.data.formats.values import WrongChannels
from perpixel.data.hashing import refuse_changed_data
from perpixel.export import Exporter, Parity, bench
from perpixel.export.folder import describe, is_export, refuse_foreign, staged
from perpixel.export.parity import Labelled, batches_of, compare, cut, faults, remark, shapes_to_try
from perpixel.inference.backend import Backend, TorchBackend
from perpixel.inference.images import to_unit_range
from perpixel.reporting.model_card import CARD, model_card
from perpixel.spec import ModelSpec
from perpixel.tracking import manifest
from perpixel.tracking.files import write_atomically
from perpixel.tracking.symlinks import refuse_links
from perpixel.workflows.assembly import build_source, check_nodes

log = logging.getLogger(__name__)

SAMPLES = 32
"""Images that batches of other sizes are cut from."""

Size = tuple[int, int] | None


@dataclass(frozen=True)
class Pictures:
    """Real images for the comparison.

    Attributes:
        samples: (C, H, W) in the stored depth.
        labelled: with their masks.
        calibration: training images, read anew by every pass.
        origin: where they come from, in words.
    """

    samples: Sequence[Tensor]
    labelled: Iterable[Labelled]
    calibration: Iterable[Tensor]
    origin: str


def export_model(
    path: Path,
    node: Any,
    *,
    output: Path | None = None,
    images: Path | None = None,
    pixels: int = 1_000_000,
    limit: int | None = 64,
    allow_changed: bool = False,
) -> Path:
    """Write an export folder.

    Args:
        path: a run directory, its ``model/`` folder, or a copy of that folder.
        node: config node of the exporter.
        output: None is ``export/<format>`` in the run directory, or beside the bundle's files.
        images: a folder of images to compare on; None takes the validation images of the run's data.
        pixels: to compare, at several sizes.
        limit: labelled images for the loss of mIoU; None takes all.
        allow_changed: compare although the run's data are not what it was trained with.

    Returns:
        the folder.

    Raises:
        ValueError: there is no model or no image, a library is missing, or the export is not the same model; what was
            in the folder before is then untouched.
    """
    exporter = build(node, Exporter, "export")  # type: ignore[type-abstract]
    exporter.check()
    if path.exists() and is_export(path):
        raise ValueError(f"run={path}: this is an export; give the run or the bundle that it was made from.")
    bundle, home = ModelBundle.load(path), find_bundle(path)
    run = home.parent if home.name == "model" and (home.parent / "config.yaml").is_file() else None
    out = output or (run or home) / "export" / exporter.format
    refuse_foreign(out)
    size = exporter.fixed_size(bundle)
    if size is not None and exporter.size is None:
        log.info("fixed size %d×%d: %s", *size, bundle.model.export_limits)
    pictures = (
        _of_folder(images, bundle.spec, size) if images else _of_run(run, path, bundle.spec, size, limit, allow_changed)
    )
    with staged(out) as staging:
        backend = exporter.export(bundle, staging, pictures.calibration)
        files = sorted(one.name for one in staging.iterdir())
        found = _gate(exporter, backend, bundle, pictures, size, pixels, out)
        files += _for_the_target(staging, backend, pictures.samples[0], size)
        facts = {
            "format": exporter.format,
            "file": exporter.file,
            "size": size,
            "made_with": _versions(exporter),
            "compared_on": pictures.origin,
            "bound": vars(exporter.bound),
            "parity": found.to_json(),
        }
        describe(staging, bundle.spec, facts, files)
        write_atomically(staging / CARD, model_card(bundle.spec, run, {exporter.format: str(found)}))
    log.info("%s is the same model: %s", exporter.format, found)
    return out


def _gate(
    exporter: Exporter,
    backend: Backend,
    bundle: ModelBundle,
    pictures: Pictures,
    size: Size,
    pixels: int,
    out: Path,
) -> Parity:
    """Compare, and refuse past the bound."""
    original = TorchBackend(bundle.model, bundle.spec, "cpu", "32-true")
    shapes = shapes_to_try(size or bundle.spec.train_size, fixed=size is not None)
    batches = (to_unit_range(batch) for batch in batches_of(pictures.samples, shapes, pixels))
    refusal = f"export={exporter.format} is refused, and nothing was written to '{out}':"
    try:
        found = compare(original, backend, batches, pictures.labelled, bundle.spec.labels)
    except ValueError as error:
        raise ValueError(f"{refusal} {error}{_first_difference(exporter, pictures, size, bundle.spec)}") from error
    if said := remark(found, exporter.bound):
        log.warning(said)
    if past := faults(found, exporter.bound):
        raise ValueError(f"{refusal} {'; '.join(past)}.{_first_difference(exporter, pictures, size, bundle.spec)}")
    return found


def _first_difference(exporter: Exporter, pictures: Pictures, size: Size, spec: ModelSpec) -> str:
    shape = (1, *(size or spec.train_size))
    batch = to_unit_range(next(iter(batches_of(pictures.samples, [shape], 1))))
    found = exporter.first_difference(batch)
    return f" First layer that differs: {found}." if found else ""


def _of_run(
    run: Path | None, path: Path, spec: ModelSpec, size: Size, limit: int | None, allow_changed: bool
) -> Pictures:
    if run is None:
        raise ValueError(
            f"run={path}: a bundle without its run directory says nothing of its data, and an export is compared on "
            "real images: give a folder of them as images=my/photos."
        )
    refuse_links(run)
    cfg = read_run_config(run / "config.yaml")
    check_nodes(cfg)
    source = build_source(cfg)
    val = source.split("val")
    refuse_changed_data({"val": val.fingerprint()}, manifest.read(run).get("data", {}), allow_changed)
    chosen = evenly(range(len(val)), len(val) if limit is None else limit)

    def read(index: int) -> tuple[Tensor, Tensor]:
        sample = val.read(index, np.random.default_rng(index))
        return _chw(sample.image), torch.from_numpy(np.ascontiguousarray(sample.mask))

    def labelled() -> Iterator[Labelled]:
        for index in chosen:
            image, mask = read(index)
            if size is not None:
                image, mask = _fitted(image, mask, size, spec.labels.fill)
            yield Labelled(to_unit_range(image[None]), mask[None])

    samples = [read(index)[0] for index in evenly(chosen, SAMPLES)]
    return Pictures(samples, labelled(), _Again(lambda: _training(source, size)), "validation images of the run")


def _training(source: DataSource, size: Size) -> Iterator[Tensor]:
    split, rng = source.split("train"), np.random.default_rng(0)
    for index in rng.permutation(len(split)):
        image = _chw(split.read(int(index), rng).image)
        yield to_unit_range((cut(image, size, rng) if size else image)[None])


def _of_folder(folder: Path, spec: ModelSpec, size: Size) -> Pictures:
    files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ValueError(f"images={folder}: there are no images ({', '.join(IMAGE_SUFFIXES)}).")

    def read(path: Path) -> Tensor:
        try:
            image = read_image(path, spec.in_channels)
        except WrongChannels as error:
            raise ValueError(f"'{path}' has {error.channels} channels, the model takes {spec.in_channels}.") from None
        if image.dtype.name != spec.image_dtype:
            raise ValueError(f"'{path}' holds {image.dtype.name} values, the model takes {spec.image_dtype} images.")
        return _chw(image)

    def calibration() -> Iterator[Tensor]:
        rng = np.random.default_rng(0)
        for path in files:
            image = read(path)
            yield to_unit_range((cut(image, size, rng) if size else image)[None])

    samples = [read(path) for path in evenly(files, SAMPLES)]
    return Pictures(samples, (), _Again(calibration), f"{len(files)} images without labels, given by images=")


class _Again:
    """An iterable that begins anew with every pass."""

    def __init__(self, make: Callable[[], Iterator[Tensor]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Tensor]:
        return self.make()


def _chw(image: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _fitted(image: Tensor, mask: Tensor, size: tuple[int, int], fill: int) -> tuple[Tensor, Tensor]:
    """The top left part of an image and its mask, at a fixed size; where they are smaller nothing is labelled."""
    height, width = mask.shape
    image = cut(image[:, : size[0], : size[1]], size, np.random.default_rng(0))
    labels = torch.full(size, fill, dtype=mask.dtype)
    labels[: min(height, size[0]), : min(width, size[1])] = mask[: size[0], : size[1]]
    return image, labels


def _for_the_target(out: Path, backend: Backend, image: Tensor, size: Size) -> list[str]:
    """A reference image, the labels that it gets here, and the script that compares and times; their names."""
    if size is not None:
        image = cut(image, size, np.random.default_rng(0))
    labels = backend(to_unit_range(image[None]))[0].argmax(dim=0).cpu().numpy()
    np.save(out / "reference_image.npy", np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    np.save(out / "reference_labels.npy", labels.astype(np.uint16))
    copyfile(str(bench.__file__), out / "bench.py")
    return ["reference_image.npy", "reference_labels.npy"]


def _versions(exporter: Exporter) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", *exporter.needs)}
