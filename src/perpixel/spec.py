"""What a trained model is: everything that is needed to rebuild it and to feed it, except its weights.

A :class:`ModelSpec` is the content of ``model.json`` in a bundle. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from perpixel.labels import LabelSpace

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Of ``model.json``, and of ``config.yaml`` and training states: raised when an older reader would misunderstand it."""

NODES = ("model", "encoder", "decoder")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""The value that counts as 1 (full scale), by the dtype of stored images."""


@dataclass(frozen=True)
class Normalise:
    """``(x − mean) / std`` per channel, for x in 0…1 of full scale.

    One rule for training, evaluation, prediction and exported graphs: all of them call this object, so they round
    alike.

    Args:
        mean, std: one number per channel, in units of full scale.

    Raises:
        ValueError: the lengths differ, or a standard deviation is not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}: give one of each per channel.")
        if min(self.std) <= 0:
            raise ValueError(f"std={list(self.std)}: every value must be above 0.")

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise (B, C, H, W) float images; returns a new tensor of the same shape and dtype, channels last.

        An exported graph holds the same arithmetic: ``x · (1 / std) − mean / std``.
        """
        std = images.new_tensor(self.std)
        slope, start = 1 / std, images.new_tensor(self.mean) / std
        batch, channels, height, width = images.shape
        # Whole rows with interleaved channels: on a CPU ten times faster than broadcasting over three channels.
        rows = images.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
        rows = (rows * slope.repeat(width)).sub_(start.repeat(width))
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ModelSpec:
    """A trained model without its weights.

    Attributes:
        nodes: config nodes of ``model``, ``encoder`` and ``decoder``, with *all* constructor arguments, so that a
            default that changes later changes no saved model.
        labels: classes, palette and ignore index.
        normalise: what images go through first.
        in_channels: channels of the images.
        image_dtype: dtype of the stored images it was trained on: ``uint8``, ``uint16`` or ``float32``.
        stride: images are padded to multiples of it, and logits are cropped back, inside the model.
        train_size: (H, W) of a training sample, pixels.
        precision: Lightning's name of the precision in which its scores were measured, ``32-true`` for example.
        channels_last: memory format in which its scores were measured (another one rounds differently).
        original_ids: for each class the value that the training masks store for it; None where they hold no numbers.
        provenance: plain JSON values: run, commit, versions, data hashes, scores; what a model card says.
    """

    nodes: Mapping[str, Any]
    labels: LabelSpace
    normalise: Normalise
    in_channels: int
    stride: int
    train_size: tuple[int, int]
    image_dtype: str = "uint8"
    precision: str = "32-true"
    channels_last: bool = False
    original_ids: tuple[int, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [name for name in NODES if name not in self.nodes]:
            raise ValueError(
                f"a model is described by the nodes {', '.join(NODES)}, but {', '.join(missing)} is missing."
            )
        if len(self.normalise.mean) != self.in_channels:
            raise ValueError(
                f"the model takes {self.in_channels} channels, but its normalisation has {len(self.normalise.mean)}."
            )
        if self.original_ids is not None and len(self.original_ids) != self.labels.num_classes:
            raise ValueError(
                f"{self.labels.num_classes} classes have {len(self.original_ids)} original ids: give one each."
            )
        if self.image_dtype not in FULL_SCALE:
            raise ValueError(f"image_dtype={self.image_dtype}: it is one of {', '.join(FULL_SCALE)}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision}: it is one of {', '.join(PRECISIONS)}.")

    def with_provenance(self, **facts: Any) -> ModelSpec:
        """The same model with more facts about where it comes from."""
        return replace(self, provenance={**self.provenance, **facts})

    def to_json(self) -> dict[str, Any]:
        """Plain containers for ``model.json``; :meth:`from_json` gives an equal spec."""
        return {
            "format": FORMAT,
            "nodes": {name: self.nodes[name] for name in NODES},
            "classes": list(self.labels.names),
            "palette": [list(colour) for colour in self.labels.palette],
            "ignore_index": self.labels.ignore_index,
            "mean": list(self.normalise.mean),
            "std": list(self.normalise.std),
            "in_channels": self.in_channels,
            "image_dtype": self.image_dtype,
            "stride": self.stride,
            "train_size": list(self.train_size),
            "precision": self.precision,
            "channels_last": self.channels_last,
            "original_ids": None if self.original_ids is None else list(self.original_ids),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, found: Any, where: str) -> ModelSpec:
        """The spec of a ``model.json``, which anybody may have written: every value is checked.

        Args:
            found: the parsed JSON.
            where: the file, for messages.

        Raises:
            ValueError: it is no description of a model, or of another format.
        """
        if not isinstance(found, Mapping) or "nodes" not in found:
            raise ValueError(f"'{where}' does not describe a perpixel model (it has no 'nodes').")
        check_format(found.get("format"), f"'{where}'")
        try:
            return cls(
                nodes={name: dict(found["nodes"][name]) for name in NODES},
                labels=LabelSpace(
                    tuple(str(name) for name in found["classes"]),
                    tuple(_colour(colour) for colour in found["palette"]),
                    None if found["ignore_index"] is None else int(found["ignore_index"]),
                ),
                normalise=Normalise(_floats(found["mean"]), _floats(found["std"])),
                in_channels=int(found["in_channels"]),
                image_dtype=str(found["image_dtype"]),
                stride=int(found["stride"]),
                train_size=_pair(found["train_size"]),
                precision=str(found["precision"]),
                channels_last=bool(found["channels_last"]),
                original_ids=_ids(found.get("original_ids")),
                provenance=dict(found["provenance"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"'{where}' does not describe a perpixel model: {reason}") from None


def check_format(found: object, where: str) -> None:
    """Refuse files that another version wrote in another format.

    Raises:
        ValueError: says which version is needed, or that the model has to be trained again.
    """
    if found == FORMAT:
        return
    if isinstance(found, int) and found > FORMAT:
        raise ValueError(
            f"{where} has format {found}, and this perpixel reads format {FORMAT}: install a newer perpixel."
        )
    raise ValueError(
        f"{where} has {'no format number' if found is None else f'format {found!r}'}, and this perpixel reads format "
        f"{FORMAT}: it was written by an earlier development version; train again with this one."
    )


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _ids(values: Sequence[Any] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(int(value) for value in values)


def _pair(values: Sequence[Any]) -> tuple[int, int]:
    height, width = (int(value) for value in values)
    return height, width


def _colour(values: Sequence[Any]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
