"""The commands and code of README and docs: what a reader copies must be accepted."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import perpixel
from perpixel.cli.evaluate import split_changes
from perpixel.cli.report import as_list
from perpixel.config import compose, expand
from tests.commands import ROOT, WarmShell
from tests.conftest import tiny_overrides

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], key=str)
PAGES = [page for page in PAGES if "_build" not in page.parts and "reference" not in page.parts]
STUDIES = sorted((ROOT / "experiments").glob("*/README.md"))

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4,}(python src/.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_VERB = re.compile(r"python src/(\w+)\.py *(.*)")
PLACEHOLDERS = {"<date>": "2026-01-01", "<run>": "run", "<run or model folder>": "run", "<run directory>": "run"}
"""What stands for something of the reader's."""


def commands(page: Path) -> Iterator[str]:
    """``python src/<verb>.py …`` of a page's blocks; a line that ends in a backslash goes on."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for _, language, body in _FENCE.findall(text):
        if language in ("sh", "bash"):
            yield from (line.strip() for line in body.splitlines() if _VERB.match(line.strip()))
    yield from (found.strip() for found in _INDENTED.findall(text))


def arguments(command: str) -> tuple[str, list[str]]:
    """(verb, arguments) of a command without its comment and without arguments that are left to the reader."""
    for text, value in PLACEHOLDERS.items():
        command = command.replace(text, value)
    found = _VERB.match(command)
    assert found is not None
    words = shlex.split(found[2], comments=True)
    return found[1], [word.replace("…", "x") for word in words if word != "…" and not word.endswith("=…")]


COMMANDS = [(str(page.relative_to(ROOT)), command) for page in (*PAGES, *STUDIES) for command in commands(page)]


def test_the_pages_have_commands() -> None:
    """The search for them works: without any the tests below would pass."""
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_is_accepted(page: str, command: str) -> None:
    """It composes against the schema, with every job of a sweep, as the program checks it before it starts."""
    verb, words = arguments(command)
    words = [word for word in words if word not in ("--help", "-m")]
    if "--config-dir" in words:  # of the reader's experiment and loss only the names are known here
        at = words.index("--config-dir")
        words = [word for word in (*words[:at], *words[at + 2 :]) if word not in ("experiment=data", "loss=squared")]
    words = [word for word in words if not word.startswith("resume=")]  # what follows are changes
    if verb == "init":
        compose([f"folder={words[0]}", *words[1:]], verb)
    elif verb == "evaluate":
        compose(split_changes(words)[0], verb, partial="…" in command)
    elif verb == "report":
        compose(list(map(as_list, words)), verb)
    elif verb == "train" and "…" not in command:
        assert expand(words, verb)
    else:  # an ellipsis stands for further arguments
        assert compose(words, verb, partial="…" in command).cfg


def test_links_lead_to_files() -> None:
    """Those to the reference do once it is built."""
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in (*PAGES, *STUDIES)
        for link in _LINK.findall(page.read_text(encoding="utf-8"))
        if not link.startswith(("http", "#", "reference/")) and not (page.parent / link.partition("#")[0]).exists()
    ]
    assert dead == []


def python_blocks() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), body)
        for page in PAGES
        for _, language, body in _FENCE.findall(page.read_text(encoding="utf-8"))
        if language == "python"
    ]


@pytest.fixture(scope="module")
def desk(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's directory: a run, its copy in place of an export, and a photo."""
    directory = tmp_path_factory.mktemp("desk")
    run = directory / "runs" / PLACEHOLDERS["<date>"] / PLACEHOLDERS["<run>"]
    perpixel.train([*tiny_overrides(tiny_root, directory), f"hydra.run.dir={run}"])
    shutil.copytree(run / "model", run / "export" / "onnx")
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(directory / "photo.jpg")
    return directory


@pytest.mark.parametrize(("page", "code"), python_blocks())
def test_python_runs(page: str, code: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    for text, value in PLACEHOLDERS.items():
        code = code.replace(text, value)
    batch = torch.rand(2, 3, 8, 8), torch.randint(0, 19, (2, 8, 8))
    exec(compile(code, page, "exec"), {"__name__": "page", "loader": [batch], "model": torch.nn.Conv2d(3, 19, 1)})


@pytest.mark.slow
def test_the_own_images_page_can_be_walked_through(tiny_root: Path, tmp_path: Path, warm_shell: WarmShell) -> None:
    """Its commands in its order, on a folder laid out as the page says; only the length of the training is cut."""
    for part in ("images", "masks"):
        shutil.copytree(tiny_root / part, tmp_path / "my" / "data" / part)
    shutil.copytree(tiny_root / "images", tmp_path / "photos")
    run = tmp_path / "runs" / PLACEHOLDERS["<date>"] / PLACEHOLDERS["<run>"]
    for command in commands(ROOT / "docs" / "own_images.md"):
        verb, words = arguments(command)
        short = ["trainer.max_epochs=1", "data.repeat=1", f"hydra.run.dir={run}"] if verb == "train" else []
        warm_shell.run(verb, [*words, *short])
    assert len(list((tmp_path / "labelled" / "masks").iterdir())) == 24
