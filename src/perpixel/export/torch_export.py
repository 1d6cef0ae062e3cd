"""PyTorch's own export: a graph that runs without the code that built the network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Lossless
from perpixel.export.graph import trace
from perpixel.inference.backend import Backend
from perpixel.inference.program_backend import ProgramBackend


class TorchExport(Lossless):
    """A ``torch.export`` program in a ``.pt2`` archive, which Python and AOTInductor take.

    Args:
        size, max_relative, min_agreement: see :class:`Lossless`.
    """

    format = "torch_export"
    file = "model.pt2"

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        size = self.fixed_size(bundle)
        torch.export.save(trace(bundle, size), out / self.file)
        return ProgramBackend(out / self.file, size)
