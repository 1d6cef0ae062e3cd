"""What every export is: a bundle in, files in another format and a backend that runs them out."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.graph import fixed_size
from perpixel.inference.backend import Backend


@dataclass(frozen=True)
class Bound:
    """How far an export may be from its original before it is refused.

    Attributes:
        relative: largest |Δlogit| as a share of the original logits' range; None where logits may move (INT8).
        agreement: least share of pixels with the same label, 0…1.
        miou_drop: most mIoU lost, in points (0…100): the upper end of the 95 % interval over images must not exceed it.
            None where the two bounds above say all.
        enough_agreement: the least share of pixels with the same label where ``miou_drop`` cannot be measured, as there
            are no labels or too few images.
    """

    relative: float | None = 1e-3
    agreement: float = 0.9999
    miou_drop: float | None = None
    enough_agreement: float = 0.99


class Exporter(ABC):
    """Writes a model in another format.

    Args:
        size: (H, W) that the exported graph takes, pixels. None: any; for an architecture that cannot be exported so
            (``export_limits``), the size of its training samples.

    Attributes:
        format: its name in ``model.json``, and of its folder.
        file: what it writes, beside which further files may lie.
        needs: modules that it imports, by the extra of perpixel that brings them.

    Raises:
        ValueError: the size is none.
    """

    format: ClassVar[str]
    file: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def __init__(self, size: list[int] | None = None) -> None:
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"export.size={size}: give height and width in pixels, as in export.size=[512,512].")
        self.size = (size[0], size[1]) if size else None

    @property
    @abstractmethod
    def bound(self) -> Bound:
        """Past which the export is refused."""

    @abstractmethod
    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        """Write the files of the format.

        Args:
            bundle: what is exported.
            out: an existing, empty directory.
            calibration: training images, (1, C, H, W) float32 in 0…1 of full scale, read anew by every pass.

        Returns:
            what was written, ready to run on the CPU (TensorRT: on the GPU it was made on).

        Raises:
            ValueError: the network cannot be exported so; says what to do.
        """

    def fixed_size(self, bundle: ModelBundle) -> tuple[int, int] | None:
        """(H, W) that the export takes, None where it takes any."""
        return fixed_size(bundle, self.size)

    def check(self) -> None:
        """Refuse before any work where a library is missing.

        Raises:
            ValueError: names it and the command that installs it.
        """
        check_installed(self.needs, f"export={self.format}", self.extra)

    def first_difference(self, images: Tensor) -> str | None:
        """The first layer whose output differs from the original's on (B, C, H, W) images; None where unknown."""
        return None


class Lossless(Exporter):
    """An export that keeps the weights in float32, so its logits may differ by rounding only.

    Args:
        size: see :class:`Exporter`.
        max_relative: see :class:`Bound`.
        min_agreement: see :class:`Bound`.
    """

    def __init__(
        self, size: list[int] | None = None, max_relative: float = 1e-3, min_agreement: float = 0.9999
    ) -> None:
        super().__init__(size)
        self.max_relative = max_relative
        self.min_agreement = min_agreement

    @property
    def bound(self) -> Bound:
        return Bound(self.max_relative, self.min_agreement)


def check_installed(modules: Sequence[str], what: str, extra: str) -> None:
    """Refuse where a module is missing.

    Raises:
        ValueError: names the modules and the command that installs them.
    """
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{what} needs {', '.join(missing)}, not installed here: pip install 'perpixel[{extra}]'.")
