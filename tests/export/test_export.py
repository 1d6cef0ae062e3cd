"""``export`` end to end: the folder, its use, its refusals. What has to be traced again is slow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.commands import Shell, environment
from tests.export.conftest import export_run
from torch import Tensor

import perpixel
from perpixel.bundle import ModelBundle
from perpixel.cli.export import main
from perpixel.config import ConfigError, build, compose, conf_dir
from perpixel.export import Bound, Exporter, Onnx
from perpixel.inference.backend import Backend, TorchBackend
from perpixel.reporting.model_card import model_card
from perpixel.workflows import export as workflow
from perpixel.workflows.export import export_model


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "backend"), [("", "auto"), ("model.onnx", "onnxruntime"), ("", "openvino")])
def test_an_export_predicts_as_the_run_does(onnx_folder: Path, run: Path, name: str, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    original, exported = perpixel.load(run), perpixel.load(onnx_folder / name, backend=backend)
    assert exported.spec == original.spec
    for size in [(32, 48), (33, 71), (90, 40)]:
        image = random_image(*size)
        wanted, got = original.predict(image), exported.predict(image)
        assert np.abs(wanted.probabilities - got.probabilities).max() < 1e-4
        assert (wanted.mask == got.mask).mean() > 0.999


def test_the_folder_says_what_it_is_and_what_was_compared(onnx_folder: Path, run: Path) -> None:
    import onnx

    described = json.loads((onnx_folder / "model.json").read_text())["export"]
    assert (described["format"], described["size"]) == ("onnx", None)
    assert described["parity"]["pixels"] >= 60_000
    assert described["parity"]["max_relative"] < 1e-3
    assert len({tuple(shape[1:]) for shape in described["parity"]["shapes"]}) >= 4
    assert described["parity"]["miou"]["original"] == pytest.approx(
        100 * json.loads((run / "metrics.json").read_text())["val"]["mIoU"]
    )
    facts = {one.key: one.value for one in onnx.load(str(onnx_folder / "model.onnx")).metadata_props}
    assert json.loads(facts["perpixel.classes"]) == ["ground", "square", "disc"]
    assert json.loads(facts["perpixel.mean"])
    assert not list(onnx_folder.parent.glob(".partial-*"))


def test_the_card_has_the_runs_facts_and_says_which_are_missing(onnx_folder: Path, run: Path) -> None:
    card = (onnx_folder / "model_card.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "perpixel"
    scores = json.loads((run / "metrics.json").read_text())
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(scores["val"]["mIoU"])
    hashes = json.loads((run / "manifest.json").read_text())["data"]
    assert all(one in card for one in hashes.values())
    assert f"| square | {scores['test']['IoU/square']:.4f} |" in card
    assert card.count("No facts") >= 3


def test_the_target_proves_itself_without_perpixel(onnx_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "device"
    shutil.copytree(onnx_folder, folder)

    def bench() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "bench.py", "--runs", "3", "--warmup", "1", "--threads", "1"]
        return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)

    done = bench()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100.000 %" in done.stdout
    assert "postprocess" in done.stdout
    described = json.loads((folder / "model.json").read_text())
    np.save(folder / "reference_labels.npy", 1 - np.load(folder / "reference_labels.npy"))
    done = bench()
    assert done.returncode == 1
    assert "reference_labels.npy is not the file" in done.stdout
    described["export"]["files"].pop("reference_labels.npy")
    (folder / "model.json").write_text(json.dumps(described))
    done = bench()
    assert done.returncode == 1
    assert "FAILED" in done.stdout


def test_an_altered_or_incomplete_export_is_refused(onnx_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(onnx_folder, folder)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"model\.onnx' is not the file that model\.json describes"):
        perpixel.load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ValueError, match=r"has no model\.onnx: copy the whole"):
        perpixel.load(folder)
    described = json.loads((folder / "model.json").read_text())
    described["export"]["file"] = "../model.onnx"
    (folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="does not describe an export"):
        perpixel.load(folder)


def test_the_wrong_runtime_is_refused_with_what_works(onnx_folder: Path, run: Path) -> None:
    with pytest.raises(ValueError, match=r"backend=torch cannot run .*: it runs on onnxruntime or openvino"):
        perpixel.load(onnx_folder, backend="torch")
    with pytest.raises(ValueError, match=r"backend=openvino cannot run .*Other runtimes need an export"):
        perpixel.load(run, backend="openvino")
    with pytest.raises(ValueError, match="this is an export; give the run"):
        export_model(onnx_folder, {"_target_": "perpixel.export.Onnx"})


class Shifted(Exporter):
    """Writes a file and gives a model that is not the bundle's."""

    format = "onnx"
    file = "model.onnx"
    shift = 0.5

    @property
    def bound(self) -> Bound:
        return Bound()

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        (out / self.file).write_bytes(b"a model")
        original = TorchBackend(bundle.model, bundle.spec)
        assert next(iter(calibration)).shape == (1, 3, 32, 48)
        return lambda images: original(images) + self.shift

    def first_difference(self, images: Tensor) -> str | None:
        return "'conv_3' (largest |Δ| 0.5)"


def test_a_model_that_is_not_the_same_leaves_nothing_and_what_was_there_stays(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "build", lambda *_: Shifted())
    out = tmp_path / "there"
    with pytest.raises(ValueError, match=r"refused, and nothing was written to '.*': \|Δlogit\| reaches .*conv_3"):
        export_model(run, {}, output=out, pixels=1000)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Shifted, "shift", 0.0)
    export_model(run, {}, output=out, pixels=1000)
    before = (out / "model.json").read_text()
    monkeypatch.setattr(Shifted, "shift", 0.5)
    with pytest.raises(ValueError, match="refused"):
        export_model(run, {}, output=out, pixels=1000)
    assert (out / "model.json").read_text() == before
    assert [one.name for one in tmp_path.iterdir()] == ["there"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ValueError, match="something else than an export"):
        export_model(run, {}, output=tmp_path / "mine", pixels=1000)


def test_a_bundle_alone_is_compared_on_given_images(
    run: Path, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run / "model", tmp_path / "bundle")
    monkeypatch.setattr(workflow, "build", lambda *_: Shifted())
    monkeypatch.setattr(Shifted, "shift", 0.0)
    with pytest.raises(ValueError, match="give a folder of them as images="):
        export_model(tmp_path / "bundle", {})
    out = export_model(tmp_path / "bundle", {}, images=tiny_root / "images", pixels=1000)
    assert out == tmp_path / "bundle" / "export" / "onnx"
    described = json.loads((out / "model.json").read_text())["export"]
    assert described["parity"]["miou"] is None
    assert "24 images without labels" in described["compared_on"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="there are no images"):
        export_model(tmp_path / "bundle", {}, images=tmp_path / "none")


def test_changed_data_are_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("export"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["data"]["val"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"has changed since it was trained.*data\.allow_changed=true"):
        export_model(copy, {"_target_": "perpixel.export.TorchExport"})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("export=onx", "Did you mean 'onnx'"),
        ("pixel=3", "Did you mean 'pixels'"),
        ("pixels=many", "pixels"),
    ],
)
def test_mistakes_are_told_when_the_config_is_composed(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(["run=.", override], "export")


def test_an_exporters_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"perpixel\.losses\.Dice: this place takes a subclass of"):
        build({"_target_": "perpixel.losses.Dice"}, Exporter, "export")  # type: ignore[type-abstract]
    with pytest.raises(ValueError, match=r"export\.size=\[5\]: give height and width"):
        Onnx(size=[5])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tensorrt_without_a_gpu_says_what_works(run: Path) -> None:
    with pytest.raises(ValueError, match=r"needs an NVIDIA GPU.*On a CPU use export=onnx"):
        export_model(run, {"_target_": "perpixel.export.TensorRt"})


def test_every_run_leaves_a_card_beside_its_weights(run: Path) -> None:
    card = (run / "model" / "model_card.md").read_text()
    assert "None exported with this card" in card
    assert "mean_iou" in card


def test_the_card_of_a_model_without_a_record_says_so(bundle: ModelBundle) -> None:
    card = model_card(replace(bundle.spec, provenance={}))
    head = yaml.safe_load(card.split("---")[1])
    assert "model-index" not in head
    assert card.count("No facts") >= 7
    assert "Undefined" not in card


def test_help_needs_no_run_and_names_every_format(tmp_path: Path) -> None:
    told = Shell(tmp_path).run("export", ["--help"])
    assert f"export: {', '.join(sorted(file.stem for file in (conf_dir() / 'export').glob('*.yaml')))}" in told
    assert "perpixel.load" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["run=gone"], "run=gone: there is no such run"), (["run=.", "pixels=0", "images=gone"], "2 faults")],
)
def test_wrong_arguments_are_told_before_torch_is_imported(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xfail(reason="the refusal holds; that the layer is named has failed once, for a reason not yet found")
def test_a_past_bound_names_the_first_layer_that_differs(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"refused.*bound 1e-12.*First layer that differs: '\w+' \(largest"):
        export_run(run, "export.max_relative=1e-12", f"output={tmp_path / 'out'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_layers_go_back_to_float_until_enough_pixels_keep_their_label(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("nncf")
    caplog.set_level("INFO")
    asked = ["export=int8", "export.samples=8", "export.min_agreement=0.99999", f"output={tmp_path / 'int8'}"]
    out = export_run(run, *asked)
    assert "layers go back to float" in caplog.text
    image = random_image(65, 40)
    assert (perpixel.load(run).predict(image).mask == perpixel.load(out).predict(image).mask).mean() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("form", ["openvino", "torch_export", "int8", "int8_onnx"])
def test_every_format_predicts_as_the_run_does(run: Path, tiny_root: Path, tmp_path: Path, form: str) -> None:
    if form != "torch_export":
        pytest.importorskip("openvino")
    more = ["export.samples=16"] if form.startswith("int8") else []
    out = export_run(run, f"export={form}", f"output={tmp_path / form}", *more)
    image = tiny_root / "images" / "03.png"  # int8 is calibrated for such, and not for noise
    wanted, got = perpixel.load(run).predict(image), perpixel.load(out).predict(image)
    difference = np.abs(wanted.probabilities - got.probabilities)
    assert 0 < difference.max() < 0.5 if form.startswith("int8") else difference.max() < 1e-4
    if form == "int8":
        assert "FakeQuantize" in (out / "model.xml").read_text()
    if form == "int8_onnx":
        import onnx

        assert "QuantizeLinear" in {node.op_type for node in onnx.load(str(out / "model.onnx")).graph.node}
