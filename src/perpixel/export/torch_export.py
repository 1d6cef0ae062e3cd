"""PyTorch's own export: a graph that runs without the code that built the network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Bound, Exporter
from perpixel.export.graph import trace
from perpixel.inference.backend import Backend
from perpixel.inference.program_backend import ProgramBackend


class TorchExport(Exporter):
    """A ``torch.export`` program in a ``.pt2`` archive, which Python and AOTInductor take.

    Args:
        size: see :class:`Exporter`.
        max_relative: see :class:`Bound`.
        min_agreement: see :class:`Bound`.
    """

    format = "torch_export"
    file = "model.pt2"

    def __init__(
        self, size: list[int] | None = None, max_relative: float = 1e-3, min_agreement: float = 0.9999
    ) -> None:
        super().__init__(size)
        self.max_relative = max_relative
        self.min_agreement = min_agreement

    @property
    def bound(self) -> Bound:
        return Bound(self.max_relative, self.min_agreement)

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        size = self.fixed_size(bundle)
        torch.export.save(trace(bundle, size), out / self.file)
        return ProgramBackend(out / self.file, size)
