"""The stages of a model, from image to logits: sizes, costs, and what each can see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from perpixel.analysis.shapes.graph import Operation, Recording, record
from perpixel.analysis.shapes.receptive import receptive_field
from perpixel.models.base import SegmentationModel, padded
from perpixel.models.maps import feature_maps, named_maps
from perpixel.models.probe import meta_images, observing


@dataclass
class Stage:
    """One row of the table: a feature map and what it took to compute it from the stages before.

    Attributes:
        name: "encoder.<i>" is the encoder's i-th map, "decoder.…" and "head.…" are modules (with ".<i>" where one gives
            several maps); ``model.aux.stages`` takes the names in encoder and decoder.
        height, width, channels: of the map.
        stride: image pixels per map pixel.
        parameters: weights used here for the first time.
        macs: multiply–accumulates for one image, in evaluation mode.
        theoretical: (height, width) of the receptive field of the map's centre, infinite where everything is seen.
        measured: side of the centred square of the image that holds 95 % of the gradient energy; None if not measured.
        inputs: names of the stages it is computed from; "image" for the image.
    """

    name: str
    height: int
    width: int
    channels: int
    stride: float
    parameters: int
    macs: int
    theoretical: tuple[float, float]
    measured: int | None = None
    inputs: list[str] = field(default_factory=list)

    @property
    def part(self) -> str:
        """ "encoder", "decoder" or "head"."""
        return self.name.partition(".")[0]

    @property
    def sees_all(self) -> bool:
        """Whether attention or global pooling lets the stage see the whole image."""
        return self.theoretical[0] == inf


@dataclass(frozen=True)
class _Mark:
    """A stage's output during a recording, and how many operations had run by then."""

    name: str
    output: Tensor
    position: int


def describe(model: SegmentationModel, height: int, width: int, in_channels: int = 3) -> list[Stage]:
    """All stages of a model for an image of a size, in the order of computation, without numbers: any size is fast.

    Parameters and multiply–accumulates of the stages add up to the model's.

    Args:
        model: any model; it is left as it is.
        height, width: of the image, before padding to the model's stride.
        in_channels: channels of the image.
    """
    image = meta_images(in_channels, height, width)
    recording, marks = _record(model, image)
    owners: dict[int, str] = {}
    counted: set[str] = set()
    parameters = {name: tensor.numel() for name, tensor in model.named_parameters()}
    stages = []
    for mark in marks:
        owned, inputs = _own(recording, mark, marks, owners, image)
        fresh = frozenset[str]().union(*(operation.parameters for operation in owned)) - counted
        counted |= fresh
        stages.append(
            Stage(
                name=mark.name,
                height=mark.output.shape[-2],
                width=mark.output.shape[-1],
                channels=mark.output.shape[1],
                stride=padded(height, model.stride) / mark.output.shape[-2],
                parameters=sum(parameters.get(name, 0) for name in fresh),
                macs=sum(operation.macs for operation in owned),
                theoretical=receptive_field(recording.operations[: mark.position], mark.output, image),
                inputs=inputs,
            )
        )
    return stages


def stage_modules(model: SegmentationModel) -> dict[nn.Module, str]:
    """The modules of decoder and head whose outputs are stages, by module."""
    parts = (("decoder", model.decoder), ("head", model.head))
    return {module: name for part, root in parts for name, module in _blocks(root, part)}


def _blocks(root: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Children, with lists and dictionaries of modules (which have no forward pass of their own) opened.

    A part without children is a stage itself.
    """
    if not any(True for _ in root.children()):
        yield prefix, root
    for name, child in root.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", child


def _record(model: SegmentationModel, image: Tensor) -> tuple[Recording, list[_Mark]]:
    """Run the model, and mark each stage's output as it appears."""
    names = stage_modules(model)
    outputs: list[tuple[str, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module is model.encoder:
            outputs.extend(named_maps("encoder", feature_maps(output)).items())
        elif module in names and changes(module, inputs, output):
            outputs.extend(named_maps(names[module], output).items())

    with observing(model, note):
        recording = record(model, image)
    positions = {id(out): index for index, op in enumerate(recording.operations) for out in op.outputs}
    marks: dict[int, _Mark] = {}
    for name, output in outputs:
        last = positions.get(id(output))
        # An encoder's first map may be the image itself, at most padded, and a missing one has no channels.
        if last is not None and output.shape[1] and "pad" not in recording.operations[last].name:
            marks.setdefault(id(output), _Mark(name, output, last + 1))
    return recording, list(marks.values())


def changes(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> bool:
    """Whether a module does more than pass its input on (dropout in evaluation, an empty sequence)."""
    given = next((each for each in inputs if isinstance(each, Tensor)), None)
    passed_on = isinstance(output, Tensor) and given is not None and given.shape == output.shape
    return not passed_on or any(True for _ in module.parameters())


def _own(
    recording: Recording, mark: _Mark, marks: list[_Mark], owners: dict[int, str], image: Tensor
) -> tuple[list[Operation], list[str]]:
    """The operations between a stage and the stages before it, and these stages' names."""
    others = {id(other.output): other.name for other in marks if other is not mark}
    needed, owned, inputs = {id(mark.output)}, [], dict[str, None]()
    for index in reversed(range(mark.position)):
        operation = recording.operations[index]
        if needed.isdisjoint(map(id, operation.outputs)):
            continue
        if index in owners:
            inputs[owners[index]] = None
            continue
        owners[index] = mark.name
        owned.append(operation)
        for source in operation.inputs:
            if id(source) in others:
                inputs[others[id(source)]] = None
            elif source is image:
                inputs["image"] = None
            else:
                needed.add(id(source))
    return owned, [name for name in inputs if name != mark.name]


def totals(stages: Iterable[Stage]) -> tuple[int, int]:
    """Parameters and multiply–accumulates of all stages."""
    rows = list(stages)
    return sum(stage.parameters for stage in rows), sum(stage.macs for stage in rows)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next(model.parameters()).device
