"""Losses by way of the command: scheduled sums, their logged parts, and class weights counted once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import perpixel
from perpixel.config import ConfigError, compose
from perpixel.data.files import class_pixels as content
from perpixel.data.files.class_pixels import added_up
from perpixel.losses import CrossEntropy, Dice, Sum
from perpixel.losses.weights import median_frequency
from perpixel.workflows.assembly import build_loss, build_source, config_faults

LIST = "[{_target_: perpixel.losses.CrossEntropy}, {_target_: perpixel.losses.Dice}]"


def scheduled(weights: str) -> list[str]:
    return ["loss=sum", f"loss.losses={LIST}", f"loss.weights={weights}"]


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_sum_from_the_command_logs_its_parts_and_follows_its_schedule(tiny: list[str], tmp_path: Path) -> None:
    """Dice's weight is 0 until the second half of the training, and 4 at its end."""
    still = ["optimizer.lr=0.0", "optimizer.weight_decay=0.0"]
    run = [
        *tiny,
        *still,
        *scheduled("[1.0,[0.0,0.0,4.0]]"),
        "trainer.max_epochs=2",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    perpixel.train(run)
    first, second = lines(tmp_path / "run")
    for line in (first, second):
        assert {"train/loss/cross_entropy", "train/loss/dice", "val/loss/cross_entropy", "val/loss/dice"} <= set(line)
    assert first["train/loss"] == pytest.approx(first["train/loss/cross_entropy"])
    share = (second["train/loss"] - second["train/loss/cross_entropy"]) / second["train/loss/dice"]
    steps = np.arange(4, 8) / 8  # 16 images in batches of 4; a step's weight is that of the share done before it
    assert share == pytest.approx(np.mean(4 * (2 * steps - 1)), rel=0.05)
    assert second["train/loss_weight/dice"] == pytest.approx(np.mean(4 * (2 * steps - 1)))
    assert "train/loss_weight/cross_entropy" not in second
    weight = 4 * (2 * steps[-1] - 1)  # of the last step
    assert second["val/loss"] == pytest.approx(second["val/loss/cross_entropy"] + weight * second["val/loss/dice"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("loss.class_weights=median", "median_frequency, effective_number, inverse_log"),
        ("loss.class_weights=effective_number:abc", "behind the colon stands β"),
        ("loss.class_weights=effective_number:1", "below 1"),
    ],
)
def test_rules_of_class_weights_are_checked_before_any_data_is_read(override: str, told: str) -> None:
    (fault,) = config_faults(compose(["loss=ce", override]).cfg)
    assert told in fault


@pytest.mark.parametrize(
    "weights", ["[1.0]", "[1.0,-1.0]", "[1.0,[]]", "[1.0,[0,-1]]"], ids=["one", "negative", "empty", "falls below 0"]
)
def test_weights_of_sums_are_checked_before_any_data_is_read(weights: str) -> None:
    (fault,) = config_faults(compose(scheduled(weights)).cfg)
    assert "weight" in fault
    nested = [f"loss.losses=[{{_target_: perpixel.losses.Sum, losses: {LIST}, weights: {weights}}}]"]
    (fault,) = config_faults(compose(["loss=sum", *nested, "loss.weights=[1]"]).cfg)
    assert "weight" in fault


def test_an_endless_training_takes_no_schedule() -> None:
    endless = ["trainer.max_epochs=-1", "scheduler=cosine"]
    with pytest.raises(ConfigError, match="a schedule needs to know when the training ends"):
        compose(endless)
    with pytest.raises(ConfigError, match="a schedule needs to know when the training ends"):
        compose(["trainer.max_epochs=-1", "scheduler=constant", *scheduled("[1.0,[0.0,1.0]]")])
    compose([*endless, "trainer.max_steps=100"])
    compose(["trainer.max_epochs=-1", "scheduler=constant", *scheduled("[1.0,1.0]")])


def test_the_weight_at_every_step_is_the_schedules(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    tell = Sum.set_progress
    monkeypatch.setattr(Sum, "set_progress", lambda self, fraction: (told.append(fraction), tell(self, fraction)))
    perpixel.train([*tiny, *scheduled("[1.0,[0.0,1.0]]"), "trainer.max_epochs=2"])
    assert told == pytest.approx([step / len(told) for step in range(len(told))])
    assert len(told) >= 4


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the splits whose pixels were counted, with a cache of the test's own."""
    names: list[str] = []
    count = content.class_pixels

    def counting(split: content.Split, labels: content.LabelSpace) -> content.Counts:
        names.append(str(split.fingerprint()))
        return count(split, labels)

    monkeypatch.setattr(content, "class_pixels", counting)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return names


def weights(overrides: list[str]) -> list[float]:
    cfg = compose(overrides).cfg
    loss = build_loss(cfg, build_source(cfg))
    assert isinstance(loss, CrossEntropy | Dice)
    assert loss.class_weights is not None
    return loss.class_weights.tolist()


@pytest.fixture
def own(tiny_root: Path, tiny: list[str], tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of the data that a test may change, and its overrides."""
    root = shutil.copytree(tiny_root, tmp_path / "own")
    return root, [f"data.source.root={root}" if o.startswith("data.source.root=") else o for o in tiny]


CHOICES = (Path(__file__).parents[2] / "docs" / "choices.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("loss", "key"), [("ce", "class_weights"), ("ce_dice", "losses.0.class_weights")])
def test_the_class_weights_of_the_docs_are_those_of_the_counts(
    loss: str, key: str, own: tuple[Path, list[str]], counted: list[str]
) -> None:
    told = f"`loss.{key}=median_frequency`"
    assert told in CHOICES
    cfg = compose([*own[1], f"loss={loss}", told.strip("`")]).cfg
    built = build_loss(cfg, build_source(cfg))
    first = built.losses[0] if isinstance(built, Sum) else built
    assert isinstance(first, CrossEntropy)
    assert first.class_weights is not None
    assert first.class_weights.tolist() == weights([*own[1], "loss=dice", "loss.class_weights=median_frequency"])
    if isinstance(built, Sum):
        assert built.losses[1].class_weights is None


@pytest.mark.parametrize(
    "group", ["data", "augment", "model", "decoder", "loss", "optimizer", "scheduler", "logger", "export"]
)
def test_the_docs_name_every_choice(group: str) -> None:
    (row,) = (line for line in CHOICES.splitlines() if line.startswith("|") and f"`{group}`" in line.split("|")[1])
    names = {path.stem for path in (Path(__file__).parents[2] / "conf" / group).glob("*.yaml")}
    assert names <= set(re.findall(r"\w+", row))


@pytest.mark.parametrize("rule", ["median_frequency", "effective_number:0.999", "inverse_log"])
def test_pixels_are_counted_once_for_the_same_data(rule: str, own: tuple[Path, list[str]], counted: list[str]) -> None:
    _, overrides = own
    first = weights([*overrides, "loss=ce", f"loss.class_weights={rule}"])
    again = weights([*overrides, "loss=dice", f"loss.class_weights={rule}"])
    assert first == again
    assert len(counted) == 1


def test_changed_data_is_counted_again(own: tuple[Path, list[str]], counted: list[str]) -> None:
    root, overrides = own
    rule = [*overrides, "loss=ce", "loss.class_weights=median_frequency"]
    before = weights(rule)
    for path in (root / "masks").iterdir():  # squares become discs
        mask = np.array(Image.open(path))
        mask[mask == 1] = 2
        mask[0, 0] = 1
        Image.fromarray(mask).save(path)
    after = weights(rule)
    assert len(set(counted)) == 2
    assert after[1] > before[1]
    assert after[2] < before[2]
    assert weights(rule) == after
    assert len(counted) == 2


def test_other_classes_are_counted_again(own: tuple[Path, list[str]], counted: list[str]) -> None:
    """The counts belong to the classes, too, not to the files alone."""
    _, overrides = own
    rule = [*overrides, "loss=ce", "loss.class_weights=median_frequency"]
    assert len(weights(rule)) == 3
    four = [o for o in rule if not o.startswith("data.source.classes")] + ["data.source.classes=[a,b,c,d]"]
    assert len(weights(four)) == 4
    assert len(counted) == 2


def test_the_counts_are_the_training_splits(own: tuple[Path, list[str]], counted: list[str]) -> None:
    _, overrides = own
    source = build_source(compose(overrides).cfg)
    split = source.split("train")
    masks = [split.read(index, np.random.default_rng(index)).mask for index in range(len(split))]
    pixels = np.stack([np.bincount(mask.ravel(), minlength=256)[:3] for mask in masks])
    found = weights([*overrides, "loss=ce", "loss.class_weights=median_frequency"])
    assert found == pytest.approx(median_frequency(added_up(pixels)))
