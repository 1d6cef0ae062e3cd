"""ONNX Runtime as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpixel.inference.fixed_size import check_size


class OnnxBackend:
    """Runs an ONNX file that takes images in 0…1 of full scale and gives logits.

    Args:
        path: the file.
        size: (H, W) that it takes, None for any.
        device: ``cpu``, ``cuda`` (needs the GPU build of ONNX Runtime), or ``auto``: a GPU where that build is there.

    Raises:
        ValueError: the file cannot be run here, or gives something else than logits.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None, device: str = "cpu") -> None:
        import onnxruntime as ort

        gpu, there = "CUDAExecutionProvider", ort.get_available_providers()
        if device.startswith("cuda") and gpu not in there:
            raise ValueError(f"device={device}: this ONNX Runtime has no {gpu}: pip install onnxruntime-gpu.")
        wanted = ["CPUExecutionProvider"] if device == "cpu" or gpu not in there else [gpu, "CPUExecutionProvider"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails raises; the log would tell it twice
        try:
            self.session = ort.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime's classes have no common base but this
            raise ValueError(f"'{path}' cannot be run by ONNX Runtime: {error}") from error
        check_logits(path, [tuple(one.shape) for one in self.session.get_outputs()])
        self.input: str = self.session.get_inputs()[0].name
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`perpixel.inference.backend.Backend`; the logits lie on the CPU.

        Raises:
            ValueError: the images do not have the size that the file takes.
        """
        check_size(images, self.size)
        (logits,) = self.session.run(None, {self.input: np.ascontiguousarray(images.cpu().numpy())})
        return torch.from_numpy(logits)


def check_logits(path: Path, outputs: list[tuple[Any, ...]]) -> None:
    """Refuse graphs that give labels or several things: every backend gives logits.

    Raises:
        ValueError: says what the file gives.
    """
    if len(outputs) != 1 or len(outputs[0]) != 4:
        raise ValueError(
            f"'{path}' gives outputs of shape {outputs}, but perpixel takes logits (B, K, H, W): export it anew by "
            "python src/export.py."
        )
