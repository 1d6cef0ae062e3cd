"""What doctor finds, of environments that are described and not there."""

from __future__ import annotations

import collections
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from PIL import Image
from tests.cli.test_mistakes import probe
from tests.commands import ROOT

from perpixel.data.formats.suffixes import IMAGE_SUFFIXES
from perpixel.workflows.doctor import Finding, Level, diagnose, machine, packages, places


def there(**versions: str) -> Callable[[str], Version | None]:
    known = {name.replace("_", "-"): Version(version) for name, version in versions.items()}
    return lambda name: known.get(name)


def test_missing_and_old_packages_are_faults_with_the_command_to_run() -> None:
    texts = ("numpy>=2.0", "hydra-core>=1.3.8", "timm>=1.0", 'x>=1; extra == "geo"')
    needed = [Requirement(text) for text in texts]
    old, missing = packages.required(needed, there(numpy="2.4", hydra_core="1.3.2"))
    assert (old.level, old.about, old.fix) == (Level.FAULT, "hydra-core", 'pip install "hydra-core>=1.3.8"')
    assert "1.3.2, and perpixel needs >=1.3.8" in old.says
    assert (missing.about, missing.says) == ("timm", "not installed; needed: >=1.0")
    (fine,) = packages.required(needed[:1], there(numpy="2.4"))
    assert fine == Finding(Level.OK, "packages", "1 required ones, all of versions that fit")


def test_an_extra_that_is_old_is_a_warning_and_one_that_is_not_there_is_nothing() -> None:
    texts = {"onnx": "onnx>=1.20", "video": "av>=14", "optuna": "optuna>=4.9; python_version > '3'"}
    needed = [packages.of_extra(Requirement(text), extra) for extra, text in texts.items()]
    found = list(packages.extras(needed, there(onnx="1.10", optuna="5.0")))
    assert [(each.level, each.about) for each in found] == [(Level.WARNING, "onnx"), (Level.OK, "extras")]
    assert found[1].says == "complete: optuna"


def test_what_is_asked_for_is_what_pyproject_says() -> None:
    python, found = packages.asked_for(ROOT)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert python == project["requires-python"]
    assert len([each for each in found if each.marker is None]) == len(project["dependencies"])
    assert {"torch", "packaging", "transformers"} <= {canonicalize_name(each.name) for each in found}


@pytest.mark.parametrize(
    ("torch", "torchvision", "level"),
    [("2.15.0", "0.29.2", Level.OK), ("2.10.0", "0.29.2", Level.FAULT), ("2.15.0+cpu", "0.29.2+cu128", Level.WARNING)],
)
def test_torch_and_torchvision(torch: str, torchvision: str, level: Level) -> None:
    found = packages.torch_and_torchvision(there(torch=torch, torchvision=torchvision), {"torch": "==2.15.0"})
    assert found is not None
    assert found.level == level
    if level is Level.FAULT:
        assert found.fix == 'pip install "torch==2.15.0" "torchvision==0.29.2"'


def test_two_opencvs_are_a_fault() -> None:
    found = packages.one_cv2(there(opencv_python="4.13", opencv_python_headless="5.0"))
    assert found.level == Level.FAULT
    assert "uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless" in found.fix
    assert packages.one_cv2(there(opencv_python_headless="5.0")).level == Level.OK
    assert packages.one_cv2(there()).level == Level.FAULT


def test_an_old_python_is_a_fault() -> None:
    assert packages.python_version(">=3.11", "3.10.4").level == Level.FAULT
    assert packages.python_version(">=3.11", "3.13.0").level == Level.OK


def test_on_a_cluster_a_missing_launcher_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    for on_cluster, level in ((True, Level.WARNING), (False, Level.NOTE)):
        slurm, optuna = packages.launchers(on_cluster)
        assert (slurm.level, optuna.level) == (level, Level.NOTE)
        assert slurm.fix == "pip install 'perpixel[slurm]'"
    csv, *others = packages.loggers()
    assert csv.says == "csv"
    assert {each.fix for each in others} == {f"pip install 'perpixel[{one}]'" for one in packages.SERVICES}


def test_little_shared_memory_is_a_warning() -> None:
    assert machine.shared_memory(None) is None
    small, large = machine.shared_memory(64 << 20), machine.shared_memory(8 << 30)
    assert small is not None
    assert (small.level, small.says.partition(":")[0], "--shm-size" in small.fix) == (Level.WARNING, "64 MiB", True)
    assert large is not None
    assert large.level == Level.OK


@pytest.mark.parametrize(
    ("answer", "level", "said"),
    [
        ((0, "True|12.8|2|H200"), Level.OK, "2 × H200, CUDA 12.8"),
        ((0, "False|None|0|"), Level.FAULT, "built for the CPU alone"),
        ((0, "False|12.8|0|"), Level.FAULT, "CUDA 12.8 does not work"),
        ((1, "ImportError: libcudart"), Level.FAULT, "cannot be imported: ImportError: libcudart"),
    ],
)
def test_a_card_that_torch_cannot_use_is_a_fault(
    answer: tuple[int, str], level: Level, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "run_python", lambda code: answer)
    (found,) = machine.graphics(nvidia=True, deep=False)
    assert found.level == level
    assert said in found.says
    (alone,) = machine.graphics(nvidia=False, deep=False)
    assert alone.level == Level.NOTE


def test_a_package_that_breaks_at_import_is_named() -> None:
    broken, fine = machine.imports({"no_such_module_here": "pip install it", "json": ""})
    assert (broken.level, fine.level) == (Level.FAULT, Level.OK)
    assert "No module named 'no_such_module_here'" in broken.says


def test_pictures_are_what_the_readers_take() -> None:
    assert set(places.IMAGES) == {*IMAGE_SUFFIXES, ".gif"}, "masks may be GIFs, too"


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = places.output(tmp_path / "a" / "b")
    assert found.level in (Level.OK, Level.WARNING)
    assert list(tmp_path.iterdir()) == []
    usage = collections.namedtuple("usage", "total used free")
    for free, level in ((1 << 20, Level.FAULT), (1 << 30, Level.WARNING), (1 << 40, Level.OK)):
        monkeypatch.setattr(places, "disk_usage", lambda _, free=free: usage(0, 0, free))
        assert next(places.output(tmp_path)).level == level
    monkeypatch.setattr(places, "unwritable", lambda folder: "Read-only file system")
    (closed,) = places.output(tmp_path)
    assert (closed.level, "Read-only" in closed.says, "output=" in closed.fix) == (Level.FAULT, True, True)
    cache = next(places.caches({"XDG_CACHE_HOME": "/closed"}))
    assert (cache.level, "XDG_CACHE_HOME" in cache.fix) == (Level.WARNING, True)


def test_a_folder_of_images(tmp_path: Path) -> None:
    assert places.data(tmp_path / "none").says.endswith("is no folder that is here")
    (tmp_path / "notes.txt").write_text("x")
    assert "holds no picture (1 other files)" in places.data(tmp_path).says
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "images" / "a.PNG")
    found = places.data(tmp_path)
    assert (found.level, found.says) == (Level.OK, f"'{tmp_path}': 1 picture")


def test_the_order_and_that_nothing_is_left_out(tmp_path: Path) -> None:
    about = {each.about for each in diagnose(tmp_path / "runs", tmp_path, deep=False)}
    assert {"perpixel", "python", "torch, torchvision", "cv2", "loggers", "cores", "GPU"} <= about
    assert {"output", "cache", "weights", "temporary files", "data"} <= about


def test_the_command_needs_no_torch_and_its_exit_code_says_whether_there_are_faults(tmp_path: Path) -> None:
    _, lines = probe(tmp_path, "doctor", f"root={tmp_path / 'none'}")
    assert lines[-2:] == ["exit 1", "False"]
    assert any(line.startswith("FAULT    data") for line in lines)
    assert "1 fault" in lines[-3]
    error, lines = probe(tmp_path, "doctor", "--help")
    assert (error, lines[-2:]) == ("", ["exit 0", "False"])
    assert list(tmp_path.iterdir()) == []
