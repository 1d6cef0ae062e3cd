"""A user's own loss (let in by ``PERPIXEL_PLUGINS=tests``) that stops its training at a place that a test chooses."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import ClassVar

import torch
from torch import Tensor

from perpixel.losses import CrossEntropy
from perpixel.losses.pixels import Pixels
from perpixel.training.callbacks import checkpoints

ARRIVAL_S = 2.0
"""A signal to the launcher has come to all ranks by then."""

checkpoints.VALIDATION_SHARE = 1e-4  # a second state for a validation's sake is then never written in a test's time


class Stopping(CrossEntropy):
    """Cross-entropy that sends the process that launched the ranks a SIGTERM.

    ``STOP_AT`` says when, counted from the start of the process: ``train 3`` in the third training batch, ``val 2`` in
    the first batch of the second validation.
    """

    counts: ClassVar = Counter[str]()
    last: ClassVar = ""

    def measure(self, pixels: Pixels) -> Tensor:
        """See ``CrossEntropy``."""
        phase = "train" if torch.is_grad_enabled() else "val"
        begins = phase == "train" or phase != Stopping.last
        Stopping.counts[phase] += begins
        Stopping.last = phase
        if begins and os.environ.get("STOP_AT") == f"{phase} {self.counts[phase]}":
            if os.environ["RANK"] == "0":
                os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(ARRIVAL_S)  # in all ranks, so that the next step boundary is the same one in every run
        return super().measure(pixels)
