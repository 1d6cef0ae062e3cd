"""From a folder to a config that trains; a step is not measured here but given."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from perpixel.cli import init
from perpixel.config import ConfigError, compose
from perpixel.workflows import measuring
from tests.commands import WarmShell
from tests.conftest import paint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pictures, each beside its 0/255 mask."""
    monkeypatch.setattr(measuring, "measure", lambda *_: measuring.Measured(0.1, 0.01))
    monkeypatch.chdir(tmp_path)
    root, rng = tmp_path / "my data", np.random.default_rng(0)
    root.mkdir()
    for number in range(12):
        image, mask = paint(rng, (40, 48))
        Image.fromarray(image).save(root / f"{number:02}.png")
        Image.fromarray((mask > 0).astype(np.uint8) * 255).save(root / f"{number:02}_mask.png")
    return root


def run_init(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["init", *arguments])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    init.main()


def steps_in(config: Path) -> int:
    """As the comment on the training's length has them."""
    found = re.search(r"# ([\d,]+) steps: ", config.read_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def test_a_folder_becomes_a_config_that_trains(
    folder: Path, warm_shell: WarmShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_init(monkeypatch, str(folder), "accelerator=cpu", "name=mine")
    text = (folder.parent / "configs" / "experiment" / "mine.yaml").read_text()
    values = [line for line in text.splitlines() if ":" in line and not line.strip().startswith(("#", "defaults:"))]
    explained = [line for line in values if "  # " in line or line.rstrip().endswith(":")]
    above = [line for line in text.splitlines() if line.strip().startswith("# ")]
    assert len(explained) + len(above) >= len(values)
    cfg = compose(["experiment=mine"], "train", str(folder.parent / "configs")).cfg
    assert (cfg.data.source.root, cfg.data.source.binary) == (str(folder), True)
    assert list(cfg.data.source.classes) == ["background", "object"]
    assert cfg.data.source.mask_key == "([^/]+)_mask"
    assert steps_in(folder.parent / "configs" / "experiment" / "mine.yaml") >= 300
    assert text.count("\n") < 70
    quick = [
        "encoder=none",
        "model=starter_unet",
        "model.width=4",
        "trainer.max_epochs=1",
        "data.repeat=1",
        "training.overlays=1",
    ]
    output = warm_shell.run("train", ["--config-dir", "configs", "experiment=mine", *quick, "trainer.accelerator=cpu"])
    assert "finished: val mIoU" in output
    assert "majority class" in output
    (run,) = (folder.parent / "runs").glob("*/*")
    assert OmegaConf.load(run / "config.yaml").data.source.root == str(folder)


def test_the_budget_sets_the_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for budget in ("1s", "100s", "10h"):
        run_init(monkeypatch, str(folder), f"budget={budget}", "overwrite=true", "accelerator=cpu", "name=b")
        found[budget] = steps_in(Path("configs/experiment/b.yaml"))
    assert 300 <= found["1s"] < 400 < found["100s"] < 900
    assert 1500 < found["10h"] < 3000


def test_a_config_that_was_changed_is_not_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_init(monkeypatch, str(folder), "accelerator=cpu", "name=c")
    path = Path("configs/experiment/c.yaml")
    path.write_text(path.read_text() + "seed: 3\n")
    with pytest.raises(SystemExit, match="is there already"):
        run_init(monkeypatch, str(folder), "accelerator=cpu", "name=c")


def test_faulty_files_are_named_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (folder / "03.png").read_bytes()
    (folder / "03.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(SystemExit, match=r"03\.png"):
        run_init(monkeypatch, str(folder), "accelerator=cpu")
    assert not Path("configs/experiment").exists()


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90), ("10min", 600), ("1.5h", 5400)])
def test_times(given: str, seconds: float) -> None:
    assert init.seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "ten", "0s", "5"])
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(ConfigError, match="give a time, as 90s"):
        init.seconds_of(given)
