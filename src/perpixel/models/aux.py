"""Auxiliary heads: inner feature maps must label the pixels, too, while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.maps import feature_maps, named_maps
from perpixel.models.probe import meta_images, observing, run_on_meta


@dataclass(frozen=True)
class Auxiliary:
    """Which inner maps get a head of their own; the keys of ``model.aux``.

    Args:
        weight: of the auxiliary losses' mean in the training loss; 0 adds no heads.
        stages: "encoder.<i>" for the encoder's i-th feature map, "decoder.<module>" for the output of a decoder
            module ("decoder.<module>.<i>" where it gives several maps), as ``shapes`` names them.
    """

    weight: float = 0.0
    stages: Sequence[str] = ("encoder.4",)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"model.aux.weight={self.weight}: the weight of a loss is not negative.")


class AuxiliaryHead(nn.Sequential):
    """FCN's head on an inner map, as PSPNet's auxiliary one (Zhao et al. 2017): 3×3 to a quarter of the channels, 1×1.

    Shapes: (B, C, h, w) → (B, num_classes, h, w).
    """

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.1) -> None:
        inner = max(8, channels // 4)
        super().__init__(
            nn.Conv2d(channels, inner, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(inner, num_classes, kernel_size=1),
        )


class Tap:
    """A forward hook that keeps a module's output in training, until it is taken."""

    def __init__(self) -> None:
        self.output: Any = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module.training:
            self.output = output

    def take(self) -> Any:
        """The output, once: a kept graph would hold memory, and could not be copied with the model."""
        output, self.output = self.output, None
        return output


class DeepSupervision(nn.Conv2d):
    """U-Net++'s head on an inner node (Zhou et al. 2018): a 1×1 convolution."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, kernel_size=1)


class AuxiliaryHeads(nn.Module):
    """A head on each of some stages of an encoder and decoder.

    The heads exist for training only, so their logits are brought to the image's size by plain bilinear interpolation
    whatever the decoder's upsampling is.

    Args:
        decoder: the decoder whose modules are tapped.
        stages: names of stages, see :class:`Auxiliary`.
        sizes: channels of all stages, from :func:`stage_channels`.
        num_classes: channels of the logits.
        head: makes the head for a number of channels.

    Raises:
        ValueError: there is no such stage (those there are, are listed), or it gives no feature map.
    """

    def __init__(
        self,
        decoder: nn.Module,
        stages: Sequence[str],
        sizes: Mapping[str, int],
        num_classes: int,
        head: type[AuxiliaryHead] | type[DeepSupervision],
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.heads = nn.ModuleList(head(_channels(sizes, stage), num_classes) for stage in stages)
        self.taps = {stage: Tap() for stage in stages if stage.startswith("decoder.")}
        for stage, tap in self.taps.items():
            tapped_module(decoder, stage).register_forward_hook(tap)

    def forward(self, features: Any, height: int, width: int) -> tuple[Tensor, ...]:
        """The logits of every head at the image's size, after the decoder has run on ``features``."""
        maps = [self._map(stage, feature_maps(features)) for stage in self.stages]
        logits = [head(features) for head, features in zip(self.heads, maps, strict=True)]
        return tuple(F.interpolate(each, size=(height, width), mode="bilinear") for each in logits)

    def _map(self, stage: str, features: Sequence[Tensor]) -> Tensor:
        part, _, name = stage.partition(".")
        if part == "encoder":
            return features[int(name)]
        found = named_maps(stage, output := self.taps[stage].take())
        return found[stage] if stage in found else feature_maps(output)[int(stage.rpartition(".")[2])]


def tapped_module(decoder: nn.Module, stage: str) -> nn.Module:
    """The module that gives a stage's map, be it as one of several."""
    name = stage.removeprefix("decoder.")
    there: dict[str, nn.Module] = dict(decoder.named_modules())
    return there[name] if name in there else there[name.rpartition(".")[0]]


def stage_channels(model: nn.Module, in_channels: int) -> dict[str, int]:
    """Channels of every stage of a model's encoder and decoder that gives a feature map, by its name."""
    sizes: dict[str, int] = {}
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if names[module] == "encoder":
            sizes.update((name, each.shape[1]) for name, each in named_maps("encoder", feature_maps(output)).items())
        elif names[module].startswith("decoder."):
            sizes.update((name, each.shape[1]) for name, each in named_maps(names[module], output).items())

    with observing(model, note):
        run_on_meta(model, meta_images(in_channels))
    return sizes


def _channels(sizes: Mapping[str, int], stage: str) -> int:
    if sizes.get(stage, 0) == 0:
        there = [name for name, channels in sizes.items() if channels and name.count(".") <= 2]
        raise ValueError(f"model.aux.stages: '{stage}' is no stage with a feature map. There are {', '.join(there)}.")
    return sizes[stage]
