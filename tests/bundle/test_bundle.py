"""A trained model as files: what is loaded equals what was saved, and whatever is not such a model is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tests.contracts.test_models import ALL, CLASSES, FIRST_OF_EACH, UPSAMPLINGS, make

from perpixel.bundle import ModelBundle
from perpixel.bundle.bundle import read_bundle_weights
from perpixel.config import ConfigError, complete, compose, read_run_config, run_config_text
from perpixel.labels import LabelSpace
from perpixel.models import Bilinear, Encoder, SegmentationModel, Upsampling
from perpixel.spec import ModelSpec, Normalise

LABELS = LabelSpace(tuple("abcde"), tuple((10 * index, 0, 0) for index in range(CLASSES)))
GIVEN = ("encoder", "upsampling", "num_classes", "in_channels")


def node(thing: Any, **arguments: Any) -> dict[str, Any]:
    """The config node of a class with arguments, or of a dataclass's instance."""
    kind = thing if isinstance(thing, type) else type(thing)
    if not isinstance(thing, type) and is_dataclass(thing) and kind.__name__ != "NoEncoder":
        arguments = {field.name: getattr(thing, field.name) for field in fields(thing)}
    return {"_target_": f"perpixel.models.{kind.__name__}", **arguments}


def spec_of(model: str, upsampling: str, in_channels: int = 3) -> ModelSpec:
    _, build, encoder, arguments, _ = next(row for row in ALL if row[0] == model)
    nodes = {
        "model": complete(node(build, **arguments), SegmentationModel, "model", GIVEN),
        "encoder": complete(node(encoder), Encoder, "encoder"),
        "decoder": complete(node(dict(UPSAMPLINGS)[upsampling]), Upsampling, "decoder"),
    }
    scale = Normalise((0.5,) * in_channels, (0.25,) * in_channels)
    return ModelSpec(nodes, LABELS, scale, in_channels, make(model, upsampling).stride, (64, 64))


def pairs() -> list[tuple[str, str]]:
    """Every architecture with every upsampling that it takes."""
    return [
        (name, upsampling)
        for name, build, *_ in FIRST_OF_EACH
        for upsampling, chosen in UPSAMPLINGS
        if getattr(build, "bilinear_only", None) is None or isinstance(chosen, Bilinear)
    ]


@pytest.mark.parametrize(("model", "upsampling"), pairs())
def test_the_loaded_models_logits_are_the_saved_ones_to_the_bit(model: str, upsampling: str, tmp_path: Path) -> None:
    network = make(model, upsampling).eval()
    images = torch.rand(1, 3, 64, 96)
    ModelBundle(spec_of(model, upsampling), network).save(tmp_path)
    loaded = ModelBundle.load(tmp_path)
    assert loaded.spec == spec_of(model, upsampling)
    with torch.no_grad():
        assert torch.equal(loaded.model(images), network(images))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    ModelBundle(spec_of("starter_unet", "bilinear"), make("starter_unet", "bilinear")).save(directory)
    return directory


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def change(bundle: Path, **values: Any) -> None:
    path = bundle / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_it_is_found_from_the_run_the_folder_and_each_of_its_files(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run / "model")
    for path in (run, run / "model", run / "model" / "model.json", run / "model" / "model.safetensors"):
        assert ModelBundle.load(path).spec.labels == LABELS
        assert read_bundle_weights(path)


def test_a_default_that_changes_later_changes_no_saved_model(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perpixel.models import StarterUnet

    before = ModelBundle.load(bundle)
    defaults = dict(StarterUnet.__init__.__kwdefaults__ or {})
    names = StarterUnet.__init__.__code__.co_varnames[: StarterUnet.__init__.__code__.co_argcount]
    values = list(StarterUnet.__init__.__defaults__ or ())
    index = names.index("convs_per_block") - len(names)
    assert not defaults
    values[index] = 3
    monkeypatch.setattr(StarterUnet.__init__, "__defaults__", tuple(values))
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ModelBundle.load(bundle).model(images), before.model(images))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), r"has no model\.safetensors: copy the whole"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4]),
            r"truncated, altered or belongs to another model",
        ),
        (lambda folder: (folder / "model.json").write_text("{"), r"model\.json' is damaged"),
        (lambda folder: (folder / "model.json").write_text("[1]"), r"does not describe a perpixel model"),
        (lambda folder: (folder / "model.json").write_text("{}"), r"does not describe a perpixel model"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), r"is damaged"),
        (lambda folder: (folder / "model.json").unlink(), r"holds no saved model \(no model\.json\)"),
        (lambda folder: change(folder, format=2), r"has format 2.*install a newer perpixel"),
        (lambda folder: change(folder, format=None), r"no format number.*train again"),
        (lambda folder: change(folder, classes=["a"]), r"one colour per class"),
        (lambda folder: change(folder, std=[0, 1, 1]), r"every value must be above 0"),
        (lambda folder: change(folder, in_channels=4), r"takes 4 channels"),
        (lambda folder: change(folder, image_dtype="complex64"), r"image_dtype=complex64"),
        (lambda folder: change(folder, weights={"sha256": "0" * 64}), r"is not the file that model\.json describes"),
    ],
)
def test_what_is_damaged_is_refused_and_says_how(damage: Any, message: str, bundle: Path) -> None:
    damage(bundle)
    with pytest.raises(ValueError, match=message):
        ModelBundle.load(bundle)


@pytest.mark.parametrize(
    "target", ["torch.load", "os.system", "perpixel.losses.Dice", "torch.nn.Linear", "logging.os.system"]
)
@pytest.mark.parametrize("part", ["model", "encoder", "decoder"])
def test_a_node_that_is_no_model_is_refused_and_not_called(target: str, part: str, bundle: Path) -> None:
    nodes = json.loads((bundle / "model.json").read_text())["nodes"]
    change(bundle, nodes=nodes | {part: {"_target_": target}})
    with pytest.raises(ValueError, match=rf"cannot be rebuilt: .*{part}\._target_={target}"):
        ModelBundle.load(bundle)


def test_a_bundle_of_links_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    for name in ("model.json", "model.safetensors"):
        (folder / name).symlink_to(saved / name)
    with pytest.raises(ValueError, match="link that leads out"):
        ModelBundle.load(folder)


def test_weights_of_another_shape_are_refused(bundle: Path) -> None:
    other = ModelBundle(
        replace(spec_of("starter_unet", "bilinear"), in_channels=1, normalise=Normalise((0.5,), (0.5,))),
        make("starter_unet", "bilinear"),
    )
    other.save(bundle)
    with pytest.raises(ValueError, match="cannot be rebuilt"):
        ModelBundle.load(bundle)


def test_normalising_is_the_formula(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 5, 7)
    scale = Normalise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (scale.mean, scale.std))
    torch.testing.assert_close(scale(images).double(), (images.double() - mean) / std, rtol=1e-6, atol=1e-6)
    assert scale(images).is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="mean has 1 values and std 2"):
        Normalise((0.1,), (0.1, 0.2))


@pytest.mark.parametrize("found", [None, 0, 2, "1"])
def test_files_of_another_format_are_refused_in_one_sentence(found: Any, tmp_path: Path) -> None:
    cfg = compose([]).cfg
    (tmp_path / "config.yaml").write_text(run_config_text(cfg))
    assert OmegaConf.to_container(read_run_config(tmp_path / "config.yaml")) == OmegaConf.to_container(
        cfg, resolve=True
    )
    saved = OmegaConf.load(tmp_path / "config.yaml")
    saved.format = found
    OmegaConf.save(saved, tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"install a newer perpixel|train again with this one") as error:
        read_run_config(tmp_path / "config.yaml")
    assert "\n" not in str(error.value)
