"""OpenVINO as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpixel.inference.fixed_size import check_size
from perpixel.inference.onnx_backend import check_logits


class OpenVinoBackend:
    """Runs an OpenVINO IR, or an ONNX file, on the CPU.

    Args:
        model: an ``.xml`` (its ``.bin`` beside it) or ``.onnx`` file, or a model in memory.
        size: (H, W) that it takes, None for any.
        precision: of what is not quantised: ``f32``, ``bf16`` or ``f16``. OpenVINO's own default is bf16 on processors
            that have it, which moves logits by a hundredth of their range.

    Raises:
        ValueError: the file cannot be run here, or gives something else than logits.
    """

    def __init__(self, model: Path | Any, size: tuple[int, int] | None = None, precision: str = "f32") -> None:
        import openvino as ov

        core = ov.Core()
        where = model if isinstance(model, Path) else Path("the model")
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            read = core.read_model(str(model)) if isinstance(model, Path) else model
            self.compiled = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise ValueError(f"'{where}' cannot be run by OpenVINO: {error}") from error
        check_logits(where, [tuple(str(side) for side in one.partial_shape) for one in self.compiled.outputs])
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`perpixel.inference.backend.Backend`; the logits lie on the CPU.

        Raises:
            ValueError: the images do not have the size that the file takes.
        """
        check_size(images, self.size)
        found = self.compiled(np.ascontiguousarray(images.cpu().numpy()))[self.compiled.output(0)]
        return torch.from_numpy(np.array(found))  # OpenVINO writes the next result into the same memory
