"""What may be said in short or looks like something else: sizes of one number, relative paths, numeric texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from perpixel.config import ConfigError, compose, expand
from perpixel.config.short import make_absolute
from perpixel.config.texts import is_text_in, quoted_texts

FOLDER = ["data=folder", "data.source.classes=[a,b]"]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["data.size=64"], "data.size"),
        (["data.size=64"], "data.source.train_window"),
        (["data.source.window=64"], "data.source.window"),
        (["data=scenes", "data.size=64"], "data.source.size"),
        ([*FOLDER, "data.source.root=x", "data.source.tile=64"], "data.source.tile"),
    ],
)
def test_a_size_of_one_number_is_a_square(overrides: list[str], key: str) -> None:
    assert OmegaConf.select(compose(overrides).cfg, key) == [64, 64]
    if "data.source.root=x" not in overrides:
        assert OmegaConf.select(compose(overrides, "audit").cfg, key) == [64, 64]


def test_shapes_take_one_number_and_nonsense_is_refused() -> None:
    assert compose(["size=64"], "shapes").cfg.size == [64, 64]
    for size in ("0", "-3", "abc", "2.5", "true", "[1,2,3]", "[a,b]"):
        with pytest.raises(ConfigError, match=r"data\.size=.*give height and width"):
            compose([f"data.size={size}"])


def test_every_path_of_a_config_becomes_absolute(tmp_path: Path) -> None:
    given = ["data.source.root=r", "data.policy=p.yaml", "data.canary=c.txt", "encoder.weights=w.pth", "init_from=../i"]
    cfg = compose([*FOLDER, *given, "encoder=resnet18"]).cfg
    make_absolute(cfg, tmp_path)
    assert (cfg.data.source.root, cfg.data.policy) == (str(tmp_path / "r"), str(tmp_path / "p.yaml"))
    assert (cfg.data.canary, cfg.encoder.weights) == (str(tmp_path / "c.txt"), str(tmp_path / "w.pth"))
    assert cfg.init_from == str(tmp_path.parent / "i")
    for weights in ("none", "imagenet", "package:a/b.pth"):
        cfg = compose([f"encoder.weights={weights}", "encoder.sha256=null", "data.canary=3"]).cfg
        make_absolute(cfg, tmp_path)
        assert (cfg.encoder.weights, cfg.data.canary) == (weights, 3)


@pytest.mark.parametrize("text", ["2024", "1e3", "2024_01", "007", "1.50", "true", "inf"])
def test_a_text_that_looks_like_a_number_stays_as_typed(text: str) -> None:
    """Whether the schema types the key or the class does."""
    assert compose([f"output={text}", f"init_from={text}", f"data.policy={text}"]).cfg.output == text
    assert compose([f"run={text}"], "evaluate").cfg.run == text
    cfg = compose([*FOLDER, "data.source.root=x"]).cfg
    for key in ("data.source.root", "data.source.masks", "data.source.group_by", "data.source.split_file"):
        (quoted,) = quoted_texts([f"{key}={text}"], is_text_in(cfg))
        assert OmegaConf.select(compose([*FOLDER, "data.source.root=x", quoted]).cfg, key) == text
    (swept,) = quoted_texts([f"data.source.root={text},b"], is_text_in(cfg))
    assert [job.cfg.data.source.root for job in expand([*FOLDER, swept])] == [text, "b"]


def test_numbers_stay_numbers() -> None:
    cfg = compose([*FOLDER, "data.source.root=x"]).cfg
    given = ["data.source.fold=1", "data.source.line_width=1e1", "optimizer.lr=1e-3", "loss.smooth=1", "seed=3"]
    assert quoted_texts(given, is_text_in(cfg)) == given
    assert compose(["trainer.devices=2", "data.canary=4"]).cfg.data.canary == 4
