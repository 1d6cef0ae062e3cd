"""Every architecture through the public command: sizes that no stride divides, images of 1, 3 and 5 channels."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tests.commands import WarmShell, rescore

import perpixel

ENCODERS = {"starter_unet": "none", "dpt": "test_vit", "linear": "test_vit", "eomt": "test_vit"}
SMALL: dict[str, list[str]] = {
    "starter_unet": ["model.width=4"],
    "fcn": ["model.hidden=8"],
    "fpn": ["model.pyramid_channels=8", "model.segmentation_channels=32"],
    "dpt": ["model.channels=8", "model.intermediate_channels=[8,8,16,16]"],
    "mask2former": [
        *("model.queries=5", "model.channels=32", "model.heads=2", "model.pixel_layers=1", "model.decoder_layers=2"),
    ],
    **{name: ["model.channels=[16,16,16,16,16]"] for name in ("unet", "unetplusplus", "manet")},
    **{
        name: ["model.channels=8"]
        for name in ("pspnet", "pan", "deeplabv3", "deeplabv3plus", "upernet", "segformer", "lraspp")
    },
    "eomt": ["model.queries=5", "model.blocks=2"],
    "linknet": [],
    "linear": [],
}
OFTEN = [("starter_unet", 5), ("unet", 1), ("mask2former", 5)]
ALL = [
    pytest.param(*case, marks=() if case in OFTEN else pytest.mark.slow)
    for case in [(model, channels) for model in SMALL for channels in (1, 3, 5)]
]


@pytest.fixture(scope="session")
def bands(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of 8 arrays of 50×70 pixels with 1, 3 or 5 bands, and masks of two classes."""
    rng = np.random.default_rng(0)
    roots = {}
    for channels in (1, 3, 5):
        root = roots[channels] = tmp_path_factory.mktemp(f"bands{channels}")
        for part in ("images", "masks"):
            (root / part).mkdir()
        for number in range(8):
            mask = (rng.random((5, 7)) > 0.5).repeat(10, 0).repeat(10, 1).astype(np.uint8)
            image = 90 * mask[..., None] + rng.integers(0, 90, (50, 70, channels))
            np.save(root / "images" / f"{number}.npy", image.astype(np.uint8))
            np.save(root / "masks" / f"{number}.npy", mask)
    return roots


def overrides(model: str, channels: int, root: Path, run: Path) -> list[str]:
    encoder = ENCODERS.get(model, "test_efficientnet")
    chosen = [] if encoder == "none" else ["encoder=resnet18", f"encoder.name={encoder}"]
    return [
        f"model={model}",
        *chosen,
        *SMALL[model],
        *("data=folder", f"data.source.root={root}", "data.source.classes=[ground,block]"),
        *(f"data.source.channels={channels}", "data.source.fractions=[0.5,0.25,0.25]"),
        *("data.size=[40,56]", "data.batch_size=2", "data.num_workers=0", "augment=none"),
        *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.accelerator=cpu"),
        *("trainer.enable_progress_bar=false", "training.overlays=0"),
        f"hydra.run.dir={run}",
    ]


@pytest.mark.parametrize(("model", "channels"), ALL)
def test_trains_and_is_scored(model: str, channels: int, bands: dict[int, Path], tmp_path: Path) -> None:
    result = perpixel.train(overrides(model, channels, bands[channels], tmp_path / "run"))
    for split in ("val", "test"):
        assert result.scores[split]["mIoU"] is not None
    if channels == 5:
        again = rescore(result.directory)
        assert again["mIoU"] == pytest.approx(result.scores["val"]["mIoU"], abs=1e-6)


def test_an_encoder_by_its_name_alone(bands: dict[int, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The default encoder's weights and their hash do not stick to another encoder."""
    given = [each for each in overrides("unet", 3, bands[3], tmp_path / "run") if each != "encoder=resnet18"]
    with caplog.at_level(logging.INFO):
        perpixel.train(given)
    assert "encoder test_efficientnet starts from random weights (encoder.weights=none)" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("model", ["unet", "mask2former"])
def test_a_run_is_evaluated_again_to_the_same_scores(model: str, bands: dict[int, Path], warm_shell: WarmShell) -> None:
    result = perpixel.train(overrides(model, 5, bands[5], warm_shell.directory / "run"))
    told = warm_shell.run("evaluate", [f"run={result.directory}", "split=val"])
    assert f"{result.scores['val']['mIoU']:.4f}" in told


@pytest.mark.parametrize(
    ("model", "switch", "aux"),
    [
        ("unet", "model.skips=false", False),
        ("unet", "model.aux.weight=0.4 model.aux.stages=[encoder.3,decoder.blocks.1]", True),
        ("unetplusplus", "model.deep_supervision=true", True),
        ("mask2former", "model.aux.weight=0.4", True),
    ],
)
def test_switches(model: str, switch: str, aux: bool, bands: dict[int, Path], tmp_path: Path) -> None:
    result = perpixel.train([*overrides(model, 3, bands[3], tmp_path / "run"), *switch.split()])
    lines = [json.loads(line) for line in (result.directory / "metrics.jsonl").read_text().splitlines()]
    assert any("train/loss/aux" in line for line in lines) == aux


def test_init_from_takes_over_with_other_classes_and_channels(
    bands: dict[int, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = perpixel.train(overrides("unet", 3, bands[3], tmp_path / "first"))
    other = [
        "data.source.classes=[ground,block,third]" if each.startswith("data.source.classes") else each
        for each in overrides("unet", 5, bands[5], tmp_path / "second")
    ]
    with caplog.at_level(logging.INFO):
        perpixel.train([*other, f"init_from={first.directory}", "encoder.input_adaptation=copy-first"])
    adapted = "adapted to other input channels: encoder.model.conv_stem.weight (rule: copy-first)"
    assert adapted in caplog.text
    assert (
        "left as initialised: head.conv.weight, (2, 16, 3, 3) in the file and (3, 16, 3, 3) in the model" in caplog.text
    )


@pytest.mark.parametrize("model", ["pspnet", "deeplabv3", "mask2former", "eomt"])
def test_an_upsampling_without_a_place_stops_the_run(model: str, bands: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"model={model} has nothing that decoder=dysample could replace"):
        perpixel.train([*overrides(model, 3, bands[3], tmp_path / "run"), "decoder=dysample"])
