"""``evaluate`` and the final scores of a training, through the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from tests.commands import Shell, rescore

import perpixel
from perpixel.cli.evaluate import evaluate
from perpixel.config import ConfigError, compose
from perpixel.data.files.source import FileSplit
from perpixel.data.masks.reader import IndexMasks

SMALLEST = ("model=starter_unet", "model.width=4", "model.convs_per_block=1")
NEW = ("mBoundaryIoU", "mBoundaryF", "mThinRecall", "mSmallObjectRecall", "ECE")


def overrides(root: Path, run: Path, *more: str) -> list[str]:
    return [
        "data=folder",
        f"data.source.root={root}",
        "data.source.classes=[ground,square,disc]",
        "data.size=[32,32]",
        "data.batch_size=4",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "training.overlays=0",
        f"hydra.run.dir={run}",
        *(more if any(one.startswith("model=") for one in more) else (*SMALLEST, *more)),
    ]


@pytest.fixture(scope="module")
def trained(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("scored") / "run"
    model = ["model=fpn", "encoder=mobilenet_v2", "encoder.weights=none"]
    perpixel.train(
        overrides(tiny_root, run, *model, "evaluation.spatial.thin_width=14", "evaluation.spatial.small_area=120")
    )
    return run


def score(run: Path, *more: str) -> dict[str, Any]:
    return rescore(run, "val", *more)


def test_a_training_ends_with_all_scores(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    for split in ("val", "test"):
        assert all(isinstance(metrics[split][name], float) for name in NEW), metrics[split]
        assert "ground" in metrics[split]["left_out"]["mSmallObjectRecall"], "it is one large piece"
        assert sum(metrics[split]["reliability"]["share"]) == pytest.approx(1)
        assert np.asarray(Image.open(trained / f"reliability_{split}.png")).std() > 5
    history = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert "val/mBoundaryIoU" not in history[0], "validations while training do without"
    assert "reliability diagram on val" in (trained / "report.html").read_text()


def test_a_run_that_was_moved_scores_the_same_without_the_weights_it_began_with(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor the devices: the config is edited to say that it was trained on four GPUs."""
    run = tmp_path / "elsewhere"
    shutil.copytree(trained, run)
    config = OmegaConf.load(run / "config.yaml")
    config.init_from, config.encoder.weights = "/gone/run", "/gone/weights.pth"
    config.trainer.accelerator, config.trainer.devices = "gpu", 4
    OmegaConf.save(config, run / "config.yaml")
    again = score(run)
    before = json.loads((trained / "metrics.json").read_text())["val"]
    assert again == {name: value for name, value in before.items() if name != "loss"}, "to the last pixel and bit"
    assert np.asarray(Image.open(run / "evaluation_val_reliability.png")).std() > 5
    table = capsys.readouterr().out
    for heading in ("square", "boundary IoU", "thin recall", "ECE", f"{again['mThinRecall']:.4f}"):
        assert heading in table
    shutil.rmtree(run)


def test_what_is_measured_can_be_changed_and_is_otherwise_the_runs(trained: Path) -> None:
    assert score(trained, "evaluation.spatial.thin_width=3")["mThinRecall"] is None
    less = score(trained, "evaluation=none")
    assert not set(NEW) & set(less)
    assert less["confusion"] == score(trained)["confusion"]
    with pytest.raises(ValueError, match=r"evaluation\.spatial\.small_area=0"):
        score(trained, "evaluation.spatial.small_area=0")


def test_the_refusal_of_changed_data_is_lifted_by_one_key(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"data": {"val": "0" * 64}}))
    with pytest.raises(ValueError, match=r"has changed since it was trained.*data\.allow_changed=true"):
        score(run)
    assert score(run, "data.allow_changed=true")["mIoU"] is not None
    with pytest.raises(ConfigError, match=r"allow_changed: there is no such key"):
        compose([f"run={run}", "allow_changed=true"], "evaluate")


def test_a_bundle_is_scored_on_other_data_with_the_same_class_names(
    trained: Path, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks store the classes in another order; the names say which is which."""
    monkeypatch.chdir(tmp_path)
    bundle = Path(shutil.copytree(trained / "model", tmp_path / "copy"))
    other = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    for path in (other / "masks").iterdir():
        Image.fromarray((np.array(Image.open(path)) + 1) % 3).save(path)
    asked = [f"run={bundle}", "split=val", "data=folder", f"data.source.root={other}"]
    evaluate(compose([*asked, "data.source.classes=[disc,ground,square]"], "evaluate").cfg)
    (path,) = (tmp_path / "runs" / "evaluations").glob("copy_*/evaluation_val.json")
    found, before = json.loads(path.read_text())["val"], json.loads((trained / "metrics.json").read_text())["val"]
    assert found["confusion"] == before["confusion"]
    with pytest.raises(ValueError, match="classes that the model does not have: cube"):
        evaluate(compose([*asked, "data.source.classes=[disc,ground,cube]"], "evaluate").cfg)
    with pytest.raises(ValueError, match="without its run, so its data are not known"):
        evaluate(compose([f"run={bundle}"], "evaluate").cfg)


def test_the_runs_own_data_may_have_moved(trained: Path, tiny_root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_root, tmp_path / "moved")
    assert score(trained, f"data.source.root={copy}")["confusion"] == score(trained)["confusion"]
    with pytest.raises(SystemExit):
        score(trained, "data.source.roott=x")


def test_a_run_that_has_not_finished_is_scored_with_its_best_weights(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    shutil.rmtree(run / "model")
    assert score(run)["confusion"] == score(trained)["confusion"]
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match="left no weights, neither in model/ nor in checkpoints/"):
        score(run)


def test_help_needs_no_run(tmp_path: Path) -> None:
    told = Shell(tmp_path).run("evaluate", ["--help"])
    assert "batch_size: null" in told
    assert "evaluation.spatial.thin_width=3" in told


@pytest.mark.parametrize("binary", [False, True])
def test_images_of_different_sizes_and_binary_masks(tmp_path: Path, binary: bool) -> None:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in range(10):
        size = (24 + 8 * (number % 3), 40)
        mask = np.zeros(size, np.uint8)
        mask[5:9, 3 : 20 + number] = 255 if binary else 1
        if not binary:
            mask[-6:] = 255  # without label
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    more = ["data.source.classes=[no,yes]", f"data.source.binary={str(binary).lower()}", "data.batch_size=2"]
    result = perpixel.train(overrides(tmp_path, tmp_path / "run", *more))
    values = result.scores["val"]
    assert all(0 <= values[name] <= 1 for name in ("mIoU", "mBoundaryIoU", "mThinRecall", "ECE") if values[name])
    assert values["mThinRecall"] is not None
    assert values["ThinRecall/no"] is None or not binary


@pytest.fixture
def unlabelled_value(tiny_root: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the data in which a mask of the validation split holds the value 7; its name."""
    shutil.copytree(tiny_root, tmp_path / "data")
    cfg = compose(overrides(tmp_path / "data", tmp_path / "unused")).cfg
    from perpixel.workflows.assembly import build_source

    name = build_source(cfg).split("val").read(1, np.random.default_rng(0)).name
    path = tmp_path / "data" / "masks" / f"{name}.png"
    mask = np.array(Image.open(path))
    mask[:2, :5] = 7
    Image.fromarray(mask).save(path)
    return tmp_path, name


def test_a_mask_that_slips_past_the_check_of_all_labels_is_named(
    unlabelled_value: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, name = unlabelled_value
    monkeypatch.setattr(FileSplit, "verify", lambda *_: None)
    with pytest.raises(ValueError, match=rf"{name}\.png' holds the value 7 in 10 pixels"):
        perpixel.train(overrides(directory / "data", directory / "run"))


def test_a_mask_that_no_reader_checks_is_named_by_the_metric_in_validation(
    unlabelled_value: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, name = unlabelled_value
    monkeypatch.setattr(FileSplit, "verify", lambda *_: None)
    monkeypatch.setattr(IndexMasks, "decode", lambda self, values, where: np.asarray(values, np.uint8))
    with pytest.raises(ValueError, match=rf"holds the value 7 \(10 pixels\) in '{name}', but there are 3 classes"):
        perpixel.train(overrides(directory / "data", directory / "run"))


@pytest.mark.slow
def test_the_path_that_a_training_prints_is_taken_by_the_other_verbs(tiny: list[str], tmp_path: Path) -> None:
    """``tiny`` lists classes and a size, as nearly every training on one's own images does."""
    run = perpixel.train(tiny).directory
    assert not set(run.name) & set(",[]{}'\" =")  # long names are cut, so what is in it depends on where the data lie
    assert "square" in Shell(tmp_path).run("evaluate", [f"run={run}", "split=val"])
    assert perpixel.train([*tiny, f"init_from={run}"]).directory != run
    assert perpixel.train([f"resume={run}", "trainer.max_epochs=2"]).directory == run
