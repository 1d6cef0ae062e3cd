"""A saved ``torch.export`` program as a backend."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from perpixel.inference.fixed_size import check_size


class ProgramBackend:
    """Runs a ``.pt2`` file, without the code that built the network.

    Args:
        path: the file. Take it from whom you trust only: PyTorch's reader is made for programs of one's own.
        size: (H, W) that it takes, None for any.
        device: where it runs; the program was traced on the CPU and is moved there.

    Raises:
        ValueError: the file is no program, or of another PyTorch.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None, device: str = "cpu") -> None:
        from torch.export.passes import move_to_device_pass

        try:
            program = torch.export.load(path)
        except Exception as error:  # of many kinds
            raise ValueError(f"'{path}' cannot be loaded by PyTorch {torch.__version__}: {error}") from error
        self.device = torch.device(device)
        if self.device.type != "cpu":
            program = move_to_device_pass(program, device)
        # Its guards also refuse sizes that it computes rightly (multiples of the stride, as the example was none): the
        # comparison after the export shows which sizes are right.
        self.module = program.module(check_guards=False)
        self.size = size

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`perpixel.inference.backend.Backend`; the logits lie on the backend's device.

        Raises:
            ValueError: the images do not have the size that the program takes.
        """
        check_size(images, self.size)
        logits: Tensor = self.module(images.to(self.device).contiguous())
        return logits
