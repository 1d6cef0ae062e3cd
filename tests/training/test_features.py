"""Fixed views of training samples, and a frozen encoder's features of them computed once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import perpixel
from perpixel.config import compose
from perpixel.data.loading.feature_store import FeatureStore
from perpixel.data.loading.samplers import Key
from perpixel.data.loading.views import View, Views
from perpixel.models import Linear
from perpixel.training.callbacks import features as features_module
from perpixel.workflows.assembly import build_data, build_source, settle, settle_normalisation


@pytest.fixture
def frozen(tiny: list[str]) -> list[str]:
    without = [each for each in tiny if not each.startswith(("model", "trainer.max_epochs"))]
    return [
        *without,
        *("model=linear", "encoder=resnet18", "encoder.name=test_efficientnet", "data.views=2"),
        *("trainer.max_epochs=3", "training.ema_decay=null", "loss=ce"),
    ]


def test_every_view_is_shown_in_turn() -> None:
    views = Views(count=3, samples=5, repeat=2)
    shown = [[views.of(Key(epoch, 0, sample)).number for sample in (1, 6)] for epoch in range(3)]
    assert shown == [[0, 1], [2, 0], [1, 2]]
    assert {views.number(View(s, v)) for s in range(5) for v in range(3)} == set(range(len(views)))
    assert all(views.number(views.view(number)) == number for number in range(len(views)))


def test_a_view_depends_on_seed_and_sample_alone(tiny: list[str]) -> None:
    def samples(*overrides: str):
        cfg = compose([*tiny, "augment=strong", "data.views=2", *overrides]).cfg
        source = build_source(cfg)
        settle(cfg, source)
        settle_normalisation(cfg, source)
        return build_data(cfg, source)._train_samples()

    def image(key: Key, *overrides: str) -> np.ndarray:
        return samples(*overrides)[key].image

    first = image(Key(0, 3, 1))
    assert np.array_equal(first, image(Key(2, 9, 1)))
    assert not np.array_equal(first, image(Key(1, 3, 1)))
    assert not np.array_equal(first, image(Key(0, 3, 1), "seed=1"))
    assert not np.array_equal(first, image(Key(0, 3, 2)))


def test_the_store_gives_back_what_it_got(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features" / "f.bin")
    given = {"a": torch.randn(3, 4).bfloat16(), "b": torch.arange(6).reshape(2, 3)}
    store.add(("train", 0), "zero", {"a": torch.zeros(1)})
    store.add(("train", 1), "one", given)
    store.finish()
    name, found = store.read(("train", 1))
    assert name == "one"
    assert all(torch.equal(found[part], given[part]) and found[part].dtype == given[part].dtype for part in given)
    assert "train" in store
    assert "val" not in store
    store.remove()
    assert not (tmp_path / "features").exists()


def scores(run: Any) -> list[dict[str, float]]:
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "loss" in k or "mIoU" in k} for line in lines]


def test_training_on_cached_features_is_the_same_training(
    frozen: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = perpixel.train([*frozen, "training.cache_features=false"])
    calls = []
    encode = features_module.CacheFeatures._encode
    monkeypatch.setattr(
        features_module.CacheFeatures, "_encode", lambda *args: calls.append(len(args[3]["name"])) or encode(*args)
    )
    seen = []
    features = Linear.features
    monkeypatch.setattr(Linear, "features", lambda *args: seen.append(len(args[1])) or features(*args))
    with caplog.at_level(logging.INFO):
        cached = perpixel.train(frozen)
    train, val = 16, 4  # of 24: shares of 0.7 and 0.15
    # The splits that are scored at the end, and the pictures of them, are read as images.
    assert sum(seen) < sum(calls) + 24
    assert sum(calls) == pytest.approx(2 * train + val, abs=4)
    assert "model.frozen=true keeps these random weights as they are" in caplog.text
    assert "views and validation samples computed in" in caplog.text
    for one, other in zip(scores(plain), scores(cached), strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-4, abs=1e-4)
    assert (cached.directory / "first_batch.png").exists()
    assert not (cached.directory / "features").exists()
    assert cached.scores["test"]["mIoU"] == pytest.approx(plain.scores["test"]["mIoU"], abs=1e-3)


def test_a_full_disk_is_told_before_the_training(
    frozen: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(features_module, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(ValueError, match=r"features of data\.views=2 views take .* training\.cache_features=false"):
        perpixel.train([*frozen, f"hydra.run.dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run" / "features").exists()
