"""From saved models to a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from perpixel.bundle import ModelBundle, Predictor
from perpixel.export.base import check_installed
from perpixel.export.folder import RUNTIMES, ExportedModel, is_export, read_export
from perpixel.inference.backend import Backend, Ensemble, TorchBackend
from perpixel.inference.refine import Refinement
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.spec import ModelSpec

AGREE = ("labels", "in_channels", "image_dtype")
"""What the members of an ensemble must share."""


def load_predictor(
    paths: Sequence[Path],
    device: str = "auto",
    precision: str | None = None,
    backend: str = "auto",
    window: int | SlidingWindow | None = None,
    tta: Sequence[str | float] = (),
    refine: Refinement | None = None,
) -> Predictor:
    """See :func:`perpixel.load`.

    Args:
        paths: one model, or several that are averaged.
        device: ``auto`` takes a GPU if there is one.
        precision: see :class:`TorchBackend`; for bundles.
        backend: what runs it: ``torch``, ``onnxruntime``, ``openvino`` or ``tensorrt``; ``auto`` takes what the format
            was made for.
        window, tta, refine: see :class:`Predictor`.

    Raises:
        ValueError: no path is given, a model cannot be loaded, or the models differ.
    """
    if not paths:
        raise ValueError("no model is given: name a run directory or its model/ folder.")
    usable_device(device)
    members = [_load(path, device, precision, backend) for path in paths]
    spec = members[0][1]
    for path, (_, other) in zip(paths[1:], members[1:], strict=True):
        _refuse_other(spec, other, paths[0], path)
    backends = [member for member, _ in members]
    return Predictor(backends[0] if len(backends) == 1 else Ensemble(backends), spec, window, tta, refine)


def _load(path: Path, device: str, precision: str | None, backend: str) -> tuple[Backend, ModelSpec]:
    if path.exists() and is_export(path):
        exported = read_export(path)
        return run_export(exported, device, _chosen(backend, RUNTIMES[exported.format], path)), exported.spec
    _chosen(backend, ("torch",), path)
    bundle = ModelBundle.load(path)
    return TorchBackend(bundle.model, bundle.spec, usable_device(device), precision), bundle.spec


def _chosen(backend: str, possible: Sequence[str], path: Path) -> str:
    if backend == "auto":
        return possible[0]
    if backend not in possible:
        others = "" if "onnxruntime" in possible else " Other runtimes need an export: python src/export.py run=…"
        raise ValueError(f"backend={backend} cannot run '{path}': it runs on {' or '.join(possible)}.{others}")
    return backend


def run_export(exported: ExportedModel, device: str, runtime: str) -> Backend:
    """The backend of an export.

    Raises:
        ValueError: the runtime is not installed, or cannot run it here.
    """
    if runtime == "torch":
        from perpixel.inference.program_backend import ProgramBackend

        return ProgramBackend(exported.file, exported.size, usable_device(device))
    if runtime == "tensorrt":
        from perpixel.inference.tensorrt_backend import TensorRtBackend

        return TensorRtBackend(exported.file, exported.size)
    check_installed([runtime], f"'{exported.file}'", {"onnxruntime": "onnx"}.get(runtime, runtime))
    if runtime == "onnxruntime":
        from perpixel.inference.onnx_backend import OnnxBackend

        return OnnxBackend(exported.file, exported.size, device)
    from perpixel.inference.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(exported.file, exported.size)


def usable_device(device: str) -> str:
    """The device to use.

    Raises:
        ValueError: it does not exist here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device} cannot be used here ({error}): use cpu, or auto.") from None
    return device


def _refuse_other(first: ModelSpec, other: ModelSpec, first_path: Path, path: Path) -> None:
    for name in AGREE:
        if getattr(first, name) != getattr(other, name):
            raise ValueError(
                f"an ensemble needs models of the same classes and images, but '{first_path}' and '{path}' differ in "
                f"{name}: {getattr(first, name)} and {getattr(other, name)}."
            )
