"""ONNX: one file that every runtime reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Lossless
from perpixel.export.graph import trace
from perpixel.inference.backend import Backend
from perpixel.inference.onnx_backend import OnnxBackend
from perpixel.spec import ModelSpec


class Onnx(Lossless):
    """ONNX through ``torch.export``: any batch, height and width (where the architecture allows), weights inside.

    Args:
        size, max_relative, min_agreement: see :class:`Lossless`.
    """

    format = "onnx"
    file = "model.onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"

    _program: Any = None

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        size = self.fixed_size(bundle)
        self._program = write_onnx(bundle, out / self.file, size)
        return OnnxBackend(out / self.file, size)

    def first_difference(self, images: Tensor) -> str | None:
        return None if self._program is None else first_difference(self._program, images, self.max_relative)


def write_onnx(bundle: ModelBundle, path: Path, size: tuple[int, int] | None) -> Any:
    """Write the file; the program that torch made it from, for a comparison layer by layer.

    Raises:
        ValueError: torch cannot follow the network.
    """
    for talkative in ("torch.onnx", "onnxscript", "onnx_ir"):  # they list every rewritten node
        logging.getLogger(talkative).setLevel(logging.ERROR)
    program = trace(bundle, size)
    exported = torch.onnx.export(
        program, (), dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
    )
    assert exported is not None
    exported.model.metadata_props.update(metadata(bundle.spec))
    exported.save(str(path), external_data=False)
    return exported


def metadata(spec: ModelSpec) -> dict[str, str]:
    """What whoever has the file alone needs: class names, palette, and what the graph does first."""
    return {
        "perpixel.classes": json.dumps(spec.labels.names),
        "perpixel.palette": json.dumps(spec.labels.palette),
        "perpixel.ignore_index": json.dumps(spec.labels.ignore_index),
        "perpixel.input": "(B, C, H, W) float32 in 0…1 of full scale; normalised inside the graph",
        "perpixel.image_dtype": spec.image_dtype,
        "perpixel.mean": json.dumps(spec.normalise.mean),
        "perpixel.std": json.dumps(spec.normalise.std),
    }


def first_difference(program: Any, images: Tensor, relative: float) -> str | None:
    """The first value of the graph that ONNX Runtime computes otherwise than PyTorch, with the figure; None: none."""
    from torch.onnx.verification import verify_onnx_program

    try:
        found = verify_onnx_program(program, (images,), compare_intermediates=True)
    except Exception as error:  # the comparison is a help; the refusal counts without it
        return f"not found, as the comparison failed ({type(error).__name__})"
    for one in found:
        if one.max_abs_diff > relative and one.max_rel_diff > relative:
            return f"'{one.name}' (largest |Δ| {one.max_abs_diff:.3g})"
    return None
