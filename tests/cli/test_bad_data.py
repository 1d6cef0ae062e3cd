"""Data that cannot be trained on: a plain message with the file and the mend, before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import perpixel
from tests.commands import WarmShell, rescore
from tests.security.test_files import png_of

pytestmark = pytest.mark.slow  # whole processes, each of which imports torch


@pytest.fixture
def data(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the data that may be harmed."""
    return Path(shutil.copytree(tiny_root, tmp_path / "data"))


@pytest.fixture
def own(data: Path, tiny: list[str]) -> list[str]:
    return [f"data.source.root={data}" if key.startswith("data.source.root=") else key for key in tiny]


def garbage(data: Path) -> None:
    (data / "images" / "05.png").write_bytes(b"no picture")


def cut_short(data: Path) -> None:
    path = data / "images" / "05.png"
    path.write_bytes(path.read_bytes()[:-200])


def empty_file(data: Path) -> None:
    (data / "masks" / "05.png").write_bytes(b"")


def bomb(data: Path) -> None:
    (data / "images" / "05.png").write_bytes(png_of(60_000, 60_000))


def alien_value(data: Path) -> None:
    Image.fromarray(np.full((32, 48), 77, np.uint8)).save(data / "masks" / "05.png")


def other_size(data: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(data / "masks" / "05.png")


def no_mask(data: Path) -> None:
    (data / "masks" / "05.png").unlink()


def nothing(data: Path) -> None:
    shutil.rmtree(data / "images")


def only(count: int) -> Callable[[Path], None]:
    def keep(data: Path) -> None:
        for part in ("images", "masks"):
            for path in sorted((data / part).iterdir())[count:]:
                path.unlink()

    return keep


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no picture": (garbage, r"05\.png", r"copy it again|remove it"),
    "cut short": (cut_short, r"05\.png", r"copy it again|remove it"),
    "empty file": (empty_file, r"05\.png", r"copy it again|remove it"),
    "image bomb": (bomb, r"05\.png", r"data\.source\.tile"),
    "mask out of policy": (alien_value, r"05\.png.*77", r"0…2|0, 1, 2|knows"),
    "mask of another size": (other_size, r"05\.png.*8×8", "same size"),
    "image without mask": (no_mask, "'05'", r"data\.source\.(image|mask)_key"),
    "no images": (nothing, "images", r"data\.source\.root"),
    "one image": (only(1), "split", "add data"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_data_are_refused_before_training(fault: str, data: Path, own: list[str], tmp_path: Path) -> None:
    harm, file, mend = FAULTS[fault]
    harm(data)
    with pytest.raises(ValueError, match=file) as refused:
        perpixel.train([*own, f"hydra.run.dir={tmp_path / 'run'}"])
    assert refused.match(mend)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_the_command_says_it_in_one_message(data: Path, own: list[str], warm_shell: WarmShell) -> None:
    cut_short(data)
    output = warm_shell.run("train", own, code=1)
    assert "05.png" in output
    assert "Traceback" not in output


def test_a_refused_start_goes_on_without_the_faulty_files(data: Path, own: list[str], tmp_path: Path) -> None:
    """Nothing was trained on the data as they were, so nothing has changed; afterwards it has, and is told."""
    run, skip = tmp_path / "run", ["data.on_bad_file=skip", "data.max_bad=0.1"]
    cut_short(data)
    with pytest.raises(ValueError, match="copy it again"):
        perpixel.train([*own, f"hydra.run.dir={run}"])
    perpixel.train([f"resume={run}", *skip])
    (data / "images" / "06.png").write_bytes(b"no picture")
    again = [f"resume={run}", "trainer.max_epochs=2", "data.max_bad=0.2"]
    with pytest.raises(ValueError, match=r"leaves out 1 faulty pairs that the run had.*data\.allow_changed=true"):
        perpixel.train(again)
    perpixel.train([*again, "data.allow_changed=true"])


def lists_of(data: Path, train: int) -> list[str]:
    names = [f"{number:02}" for number in range(24)]
    for split, chosen in {"train": names[:train], "val": names[train : train + 2]}.items():
        (data / f"{split}.txt").write_text("\n".join(chosen))
    return ["data.source.split=lists", "data.source.lists={train: train.txt, val: val.txt}"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_named(split: str, data: Path, own: list[str]) -> None:
    lists = lists_of(data, 4)
    (data / f"{split}.txt").write_text("")
    with pytest.raises(ValueError, match=f"'{split}'.*empty"):
        perpixel.train([*own, *lists])


def test_a_test_split_without_labels_trains_and_has_no_score(
    data: Path, own: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As published test masks; a validation split could not choose the checkpoint."""
    lists = lists_of(data, 4)
    (data / "test.txt").write_text("20\n21")
    lists[1] = "data.source.lists={train: train.txt, val: val.txt, test: test.txt}"
    for name in ("20", "21"):
        Image.fromarray(np.full((32, 48), 255, np.uint8)).save(data / "masks" / f"{name}.png")
    with caplog.at_level("INFO"):
        result = perpixel.train([*own, *lists])
    assert result.scores["test"]["mIoU"] is None
    assert "test mIoU – (" in caplog.text
    assert "– <small>test mIoU" in (result.directory / "report.html").read_text()
    assert rescore(result.directory, "test")["ECE"] is None
    (data / "val.txt").write_text("20\n21")
    with pytest.raises(ValueError, match=r"2 validation masks has a label.*by which no checkpoint can be chosen"):
        perpixel.train([*own, *lists[:1], "data.source.lists={train: train.txt, val: val.txt}"])


def test_a_split_of_one_image_trains(data: Path, own: list[str]) -> None:
    """A step of one sample, and says so."""
    with pytest.warns(UserWarning, match="batches of 1"):
        result = perpixel.train([*own, *lists_of(data, 1), "data.batch_size=8"])
    assert result.scores["val"]["mIoU"] is not None


@pytest.mark.parametrize("model", ["deeplabv3", "deeplabv3plus", "pspnet", "pan", "upernet", "fpn", "lraspp"])
def test_a_batch_of_one_trains_or_tells_the_mend(model: str, data: Path, own: list[str]) -> None:
    """Pooling to 1×1 leaves batch norm a single value per channel; batches of validation may hold one image, too."""
    network = [f"model={model}", "encoder=resnet18", "encoder.weights=none"]
    kept = [key for key in own if not key.startswith("model")]
    overrides = [*kept, *network, *lists_of(data, 2), "data.batch_size=1", "training.overlays=0"]
    try:
        result = perpixel.train(overrides)
    except ValueError as error:
        assert "data.batch_size=2" in str(error)  # noqa: PT017 - either outcome is fine
        result = perpixel.train([*overrides, "data.batch_size=2"])
    assert result.scores["val"]["mIoU"] is not None
