from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from perpixel.augment import CutMix, Default, Light, Mosaic, Plain, Recipe, Strong
from perpixel.data import DataModule
from perpixel.data.loading.batches import collate
from perpixel.data.loading.samplers import Rank
from perpixel.inference.images import to_unit_range

from .conftest import ArraySource, ArraySplit


def module(source: ArraySource | None = None, augment: Recipe | None = None, **options: Any) -> DataModule:
    options = {"batch_size": 4, **options}
    return DataModule(source or ArraySource(), augment or Light(size=(8, 8)), **options)


def hashes(batches: list[dict[str, Any]]) -> list[str]:
    return [
        hashlib.sha256(batch["image"].numpy().tobytes() + batch["mask"].numpy().tobytes()).hexdigest()
        for batch in batches
    ]


class Recorder(LightningModule):
    """A model of one weight that notes what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, ...]] = []
        self.pixels: list[str] = []
        self.evaluated: list[str] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].dtype == torch.int64
        self.seen.append(tuple(batch["name"]))
        self.pixels += hashes([{name: batch[name].cpu() for name in ("image", "mask")}])
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.evaluated += batch["name"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(path: Path, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    options = {
        "accelerator": "cpu",
        "enable_checkpointing": False,
        "use_distributed_sampler": False,
        **quiet,
        **options,
    }
    return Trainer(default_root_dir=path, **options)


def test_batches_as_promised() -> None:
    data = module()
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 8, 8)
    assert batch["image"].dtype == torch.uint8
    assert batch["mask"].shape == (4, 8, 8)
    assert len(batch["name"]) == 4
    on_device = data.on_after_batch_transfer(batch, 0)
    expected = (batch["image"].numpy() / 255 - 0.5) / 0.25
    np.testing.assert_allclose(on_device["image"].numpy(), expected, atol=1e-5)
    assert on_device["mask"].dtype == torch.int64


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_full_scale_of_every_depth_is_one(dtype: Any, scale: float) -> None:
    image = torch.from_numpy(np.full((1, 3, 2, 2), scale, dtype))
    np.testing.assert_allclose(module().normalise(to_unit_range(image)).numpy(), (1 - 0.5) / 0.25, atol=1e-6)


def test_statistics_of_an_encoder_replace_the_sources() -> None:
    assert module(mean=[0.1, 0.2, 0.3]).normalise.mean == (0.1, 0.2, 0.3)
    with pytest.raises(ValueError, match="mean has 2 values, but the images have 3 channels"):
        module(mean=[0.1, 0.2])


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(
    "augment",
    [Strong(size=(8, 8)), CutMix(Strong(size=(8, 8)), p=1), Mosaic(Plain(size=(8, 8)), p=0.5)],
    ids=["strong", "cutmix", "mosaic"],
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_do_not_depend_on_workers(workers: int, augment: Recipe) -> None:
    def two_epochs(num_workers: int) -> list[str]:
        loader = module(augment=augment, num_workers=num_workers).train_dataloader()
        found = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            found += hashes(list(loader))
        return found

    alone = two_epochs(0)
    assert len(set(alone)) == 4
    assert two_epochs(workers) == alone


def test_two_ranks_together_see_what_one_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step, to the pixel: augmentation too is a function of the place in the epoch, not of the rank."""

    def steps(rank: Rank, batch_size: int) -> list[set[str]]:
        monkeypatch.setattr(DataModule, "_rank", lambda _: rank)
        source = ArraySource(train=16)
        loader = module(source, Strong(size=(8, 8)), batch_size=batch_size).train_dataloader()
        return [
            {hashes([{"image": i, "mask": m}])[0] for i, m in zip(b["image"], b["mask"], strict=True)} for b in loader
        ]

    alone = steps(Rank(0, 1), 4)
    together = [first | second for first, second in zip(steps(Rank(0, 2), 2), steps(Rank(1, 2), 2), strict=True)]
    assert together == alone
    assert len(set.union(*alone)) == 16


def test_persistent_workers_learn_the_epoch_from_lightning(tmp_path: Path) -> None:
    names = []
    for workers in (0, 1):
        model = Recorder()
        trainer(tmp_path, max_epochs=3).fit(model, datamodule=module(num_workers=workers))
        names.append(model.seen)
    assert names[0] == names[1]
    assert len(set(names[0])) > 2


def test_another_seed_another_order() -> None:
    first, second = (list(module(seed=seed).train_dataloader().sampler) for seed in (0, 1))
    assert first != second


def test_the_loaders_leave_the_global_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(module().train_dataloader())
    assert torch.rand(1) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_resumes_within_an_epoch(tmp_path: Path, workers: int) -> None:
    source = ArraySource(train=24)
    keep = ModelCheckpoint(
        tmp_path, filename="{step}", every_n_train_steps=8, save_top_k=-1, auto_insert_metric_name=False
    )
    whole = Recorder()
    options: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True}

    def data() -> DataModule:
        return module(source, CutMix(Strong(size=(8, 8)), p=0.5), num_workers=workers)

    trainer(tmp_path, callbacks=[keep], **options).fit(whole, datamodule=data())
    resumed = Recorder()
    trainer(tmp_path, **(options | {"enable_checkpointing": False})).fit(
        resumed, datamodule=data(), ckpt_path=tmp_path / "8.ckpt"
    )
    assert resumed.seen == whole.seen[8:]
    assert resumed.pixels == whole.pixels[8:]
    assert len(set(whole.pixels)) == len(whole.pixels), "every batch is another"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("after_training", [True, False], ids=["saved after training", "saved after validation"])
def test_resumes_at_an_epochs_end(tmp_path: Path, workers: int, after_training: bool) -> None:
    keep = ModelCheckpoint(
        tmp_path,
        filename="{epoch}",
        save_top_k=-1,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=after_training,
    )
    options: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 1}
    whole, resumed = Recorder(), Recorder()
    first = trainer(tmp_path, callbacks=[keep], **(options | {"enable_checkpointing": True}))
    recipe = Strong(size=(8, 8))
    first.fit(whole, datamodule=module(augment=recipe, num_workers=workers))
    again = module(augment=recipe, num_workers=workers)
    trainer(tmp_path, **options).fit(resumed, datamodule=again, ckpt_path=tmp_path / "0.ckpt")
    assert resumed.seen == whole.seen[1:]
    assert resumed.pixels == whole.pixels[1:]


def test_evaluation_is_complete_and_native(tmp_path: Path) -> None:
    source = ArraySource()
    source.parts["val"] = ArraySplit(5, sizes=[(8, 9), (10, 12), (8, 9), (10, 12), (7, 7)])
    model = Recorder()
    trainer(tmp_path).validate(model, datamodule=module(source, eval_batch_size=2))
    assert sorted(model.evaluated) == [f"sample{i}" for i in range(5)]
    shapes = {tuple(batch["mask"].shape) for batch in module(source, eval_batch_size=2).val_dataloader()}
    assert shapes == {(2, 8, 9), (2, 10, 12), (1, 7, 7)}


def test_small_data_still_trains(tmp_path: Path) -> None:
    model = Recorder()
    with pytest.warns(UserWarning, match=r"data\.batch_size=64 is larger than the 10 training samples"):
        trainer(tmp_path, max_epochs=1).fit(model, datamodule=module(batch_size=64))
    assert [len(names) for names in model.seen] == [10]


def test_limit_takes_a_fixed_choice_and_counts_in_the_fingerprint() -> None:
    limited = module(ArraySource(train=50), limit=6)
    names = {name for _ in range(2) for batch in limited.train_dataloader() for name in batch["name"]}
    assert len(names) <= 6
    assert limited.fingerprints()["train"] != module(ArraySource(train=50)).fingerprints()["train"]
    assert limited.fingerprints()["val"] == module(ArraySource(train=50)).fingerprints()["val"]


def test_padding_must_match_the_labels() -> None:
    with pytest.raises(ValueError, match="build the recipe with fill=255"):
        module(augment=Plain(size=(8, 8), fill=0))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"eval_batch_size": 0}, {"num_workers": -1}, {"limit": 0}])
def test_arguments_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"data\.{next(iter(wrong))}="):
        module(**wrong)


def test_collate_keeps_the_dtype() -> None:
    samples = [ArraySplit(2).read(i, np.random.default_rng(0)) for i in range(2)]
    wide = [sample._replace(image=sample.image.astype(np.uint16)) for sample in samples]
    assert collate(wide)["image"].dtype == torch.uint16


def test_a_recipe_that_the_images_channels_do_not_fit_is_refused_at_once() -> None:
    source = ArraySource()
    source.channels, source.mean, source.std = 6, (0.5,) * 6, (0.25,) * 6
    with pytest.raises(ValueError, match=r"6 channels: set augment\.saturation=0 augment\.hue=0"):
        DataModule(source, Default(size=(8, 8)), batch_size=2)
