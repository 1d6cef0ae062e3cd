"""What training asks of the objects that it is handed; it imports neither losses, models nor data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class TrainableLoss(Protocol):
    """A module that is a loss; `perpixel.losses.Loss` is one.

    Attributes:
        part_names: of the weighted parts, from the start; empty for a loss of one part.
        parts: after each call, the detached scalar value of every weighted part by name.
        scheduled: the present weight of every part whose weight follows a schedule, by name.
    """

    part_names: tuple[str, ...]
    parts: dict[str, Tensor]
    scheduled: dict[str, float]

    def __call__(self, logits: Any, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The scalar loss of logits (B, C, H, W) and labels (B, H, W), of pixels counted by weight (B, H, W)."""

    def set_progress(self, fraction: float) -> None:
        """Called before every step with how much of the training is over, 0…1."""

    def modules(self) -> Iterator[nn.Module]:
        """As of any module."""

    def register_forward_hook(self, hook: Any) -> RemovableHandle:
        """As of any module."""


@runtime_checkable
class RedrawableData(Protocol):
    """Data that can give other samples in the place of those that made a step fail."""

    def redraw(self, epoch: int, first: int, last: int) -> None:
        """Replace the samples of the batches ``first`` to ``last`` of an epoch (all 0-based), in all ranks."""


@runtime_checkable
class FrozenModel(Protocol):
    """A network whose encoder training leaves as it is, so that its features can be computed once.

    Attributes:
        frozen: whether it does.
    """

    frozen: bool

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """(B, C, H, W) → the encoder's maps."""

    def from_features(self, features: Sequence[Tensor], size: tuple[int, int]) -> Any:
        """The network's output for images of that size (H, W), from their maps."""


class CachingData(Protocol):
    """Data that keep what an encoder makes of them; ``perpixel.data.DataModule`` is such.

    Attributes:
        views: augmented views of every training sample; None for ever new ones.
    """

    views: int | None

    def cache_features(
        self, encode: Callable[[Any], Sequence[Tensor]], path: Path, check: Callable[[int], None]
    ) -> int:
        """See ``perpixel.data.DataModule``."""

    def forget_features(self) -> None:
        """Delete them."""


@runtime_checkable
class ChangingModel(Protocol):
    """A network that may change in the course of a training."""

    def set_progress(self, fraction: float) -> None:
        """Called before every step with how much of the training is over, 0…1."""


@runtime_checkable
class OutputWithAux(Protocol):
    """What a network with auxiliary heads gives while it trains: its logits, and those of each head."""

    @property
    def logits(self) -> Any: ...

    @property
    def aux(self) -> Sequence[Tensor]: ...


def logits_and_aux(output: Any) -> tuple[Any, Sequence[Tensor]]:
    """A network's logits, and those of its auxiliary heads, of which there are none outside of training."""
    return (output.logits, output.aux) if isinstance(output, OutputWithAux) else (output, ())


def loss_of(loss: TrainableLoss, logits: Any, batch: Mapping[str, Any]) -> Tensor:
    """The loss of a batch with ``mask`` (B, H, W) and, where the data bring weights per pixel, ``weight`` (B, H, W)."""
    weight = batch.get("weight")
    return loss(logits, batch["mask"]) if weight is None else loss(logits, batch["mask"], weight)
