"""Mistakes that show what to type instead."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import perpixel
from perpixel.config import ConfigError, compose, faults
from perpixel.config.errors import nearest
from perpixel.config.quoting import typed
from perpixel.data import DataSource
from perpixel.losses import Loss

FOLDER = ["data=folder", "data.source.root=x", "data.source.classes=[a,b]"]


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        compose([*FOLDER, *overrides])
    return str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        "(.+)_mask",
        "a=b",
        "[a-z]+(\\d+)",
        "images/[a-z]*.png",
        "it's",
        "~/x",
        "été",
        "x(1)",
        "a{1}",
        "a#b",
        "a,b",
        'a"b\\',
    ],
)
def test_texts_with_marks_are_shown_quoted(value: str) -> None:
    """The form that is shown gives that very text, through the shell and Hydra."""
    shown = refused(f"data.source.mask_key={value}").rsplit(": ", 1)[-1] if value != "a,b" else ""
    if value == "a,b":
        shown = refused(f"data.source.mask_key={value}").partition("one text with a comma ")[2].rstrip(".")
    (line,) = shlex.split(shown)
    assert compose([*FOLDER, line]).cfg.data.source.mask_key == value


@pytest.mark.parametrize("value", ["imgs", "my data", "2024", "null", "*/a.png", "(?:.*/)?(.+)", "a,b"])
def test_a_shown_override_reads_back(value: str) -> None:
    (line,) = shlex.split(typed("key", value))
    assert OverridesParser.create().parse_override(line).value() == value


def test_lists_are_shown_as_lists() -> None:
    assert "data.source.classes=[a,b]" in refused("data.source.classes=a,b")
    assert """'data.source.classes=[a,"b=c"]'""" in refused("data.source.classes=[a,b=c]")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("epochs", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("num_epochs", "trainer.max_epochs"),
        ("max_iters", "trainer.max_steps"),
        ("learning_rate", "optimizer.lr"),
        ("img_size", "data.size"),
        ("backbone", "encoder"),
        ("num_classes", "data.source.classes"),
        ("wd", "optimizer.weight_decay"),
        ("amp", "trainer.precision"),
    ],
)
def test_names_of_other_tools_lead_to_the_key(name: str, key: str) -> None:
    assert f"Did you mean '{key}'?" in refused(f"{name}=5")
    assert nearest(name, ["nothing.alike"]) == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("loss=dice", r"\['loss=dice'\]"),
        ("loss=dice trainer.max_epochs=5", r"\['loss=dice', 'trainer\.max_epochs=5'\]"),
        ({"loss": "dice"}, r"\['loss=dice'\]"),
        (["loss=dice", 3], "3 is no override"),
        (3, "of type int"),
    ],
)
def test_train_shows_the_list_it_takes(given: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        perpixel.train(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["data", "data.source"])
@pytest.mark.parametrize("std", ["[0,1,1]", "[-0.1,0.2,0.2]", "[nan,1,1]"])
def test_a_deviation_that_cannot_divide_is_refused(where: str, std: str) -> None:
    assert f"{where}.std=" in refused(f"{where}.mean=[0.5,0.5,0.5]", f"{where}.std={std}")


def test_255_is_no_full_scale() -> None:
    imagenet = ["data.mean=[123.675,116.28,103.53]", "data.std=[58.395,57.12,57.375]"]
    with pytest.raises(ConfigError) as error:
        compose(["data=earth", *imagenet])
    assert "data.std=[0.229,0.224,0.225]" in str(error.value)
    assert "data.mean=[0.485,0.456,0.406]" in str(error.value)
    with pytest.raises(ConfigError, match=r"data\.mean=\[-0\.1,0,0\].*within 0…1"):
        compose(["data=earth", "data.mean=[-0.1,0,0]", "data.std=[1,1,1]"])
    compose([*FOLDER, *imagenet])  # floats may be of any range: told when the files are seen


@pytest.mark.parametrize("model", ["unet", "unetplusplus", "manet"])
def test_a_depth_shows_its_channels(model: str) -> None:
    told = refused(f"model={model}", "model.depth=3")
    assert "model.depth=3 model.channels=[64,32,16]" in told
    compose([*FOLDER, f"model={model}", "model.depth=3", "model.channels=[64,32,16]"])
    assert "or model.depth=3 for these" in refused(f"model={model}", "model.channels=[64,32,16]")
    assert "model.depth=9: " in refused(f"model={model}", "model.depth=9")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("augment.horizontal_flip=1.5", r"augment\.horizontal_flip=1\.5 must be a probability.*=0\.015"),
        ("augment.vertical_flip=-0.1", r"augment\.vertical_flip=-0\.1 must be a probability"),
        ("augment.focus=2", r"augment\.focus=2 must be a probability"),
        ("augment.scale=[1]", r"augment\.scale=\[1\] must be"),
        ("augment=default augment.jitter=2", r"augment\.jitter=2 must be a probability"),
        ("augment=default augment.hue=0.7", r"augment\.hue=0\.7 .* within 0…0\.5"),
        ("augment=default augment.brightness=-1", r"augment\.brightness=-1 is the greatest change"),
        ("augment=strong augment.grey=50", r"augment\.grey=50 .* 50 % is augment\.grey=0\.5"),
        ("augment=strong augment.degrade=1.1", r"augment\.degrade=1\.1 must"),
        ("augment=strong augment.rotate=-5", r"augment\.rotate=-5"),
        ("augment=medical augment.elastic=3", r"augment\.elastic=3 must"),
        ("augment=medical augment.noise=-1", r"augment\.noise=-1 must"),
        ("augment=medical augment.displacement=-1", r"augment\.displacement=-1"),
        ("augment=satellite augment.jitter=2", r"augment\.jitter=2 must"),
        ("augment=cutmix augment.p=1.5", r"augment\.p=1\.5 must"),
        ("augment=cutmix augment.recipe.vertical_flip=50", r"augment\.recipe\.vertical_flip=50 must"),
    ],
)
def test_ranges_of_recipes_are_told_before_data_are_read(key: str, told: str) -> None:
    from perpixel.workflows.assembly import check_nodes

    with pytest.raises(ConfigError, match=told):
        check_nodes(compose([*FOLDER, *key.split()]).cfg)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.source.root=[my]", """'data.source.root="[my]"'"""),
        ("data.source.classes=abc", "data.source.classes=[abc]"),
        ("data.source.classes=[1.5,true]", """'data.source.classes=["1.5","True"]'"""),
        ("data.source.classes=3", "data.source.classes=[a,b]"),
    ],
)
def test_values_of_another_kind_show_the_form(override: str, told: str) -> None:
    from perpixel.workflows.assembly import check_nodes

    with pytest.raises(ConfigError) as error:
        check_nodes(compose([*FOLDER, override]).cfg)
    assert told in str(error.value)


def test_a_mapping_is_no_list() -> None:
    """Its values would be dropped."""
    node = {"_target_": "perpixel.data.Folder", "root": "x", "classes": {"a": 0, "b": 7}}
    (told,) = faults(node, DataSource, "data.source")
    assert "A list is written data.source.classes=[a,b]" in told


def test_a_loss_without_measure_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from perpixel.losses import Loss\nclass Mine(Loss):\n    def forward(self, logits, target): ...\n"
    (tmp_path / "lab_without_measure.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("perpixel.config.objects.PLUGINS", frozenset({"lab_without_measure"}))
    (told,) = faults({"_target_": "lab_without_measure.Mine"}, Loss, "loss", ("ignore_index",))
    assert "lacks what perpixel.losses.base.Loss asks its subclasses for: def measure(self, pixels" in told
    assert "Define it in Mine" in told


def test_a_split_nobody_asked_for_is_needed_unless_a_few_are_learned_by_heart(tiny: list[str]) -> None:
    from perpixel.workflows.assembly import build_source

    only_train = [*tiny, "data.source.fractions=[1,0,0]"]
    with pytest.raises(ValueError, match=r"the split 'val' is empty.*data\.source\.fractions=\[0\.8,0\.2,0\]"):
        build_source(compose(only_train).cfg)
    assert build_source(compose([*only_train, "data.overfit=1"]).cfg).splits == ("train", "val")


def test_255_is_refused_where_the_files_hold_integers(tiny: list[str]) -> None:
    from perpixel.workflows.assembly import build_source, settle_normalisation

    cfg = compose([*tiny, "data.mean=[123.675,116.28,103.53]", "data.std=[58.395,57.12,57.375]"]).cfg
    with pytest.raises(ConfigError, match=r"data\.std=\[0\.229,0\.224,0\.225\]"):
        settle_normalisation(cfg, build_source(cfg))
