from __future__ import annotations

import re
from pathlib import Path

from tests.commands import WarmShell


def test_a_file_gets_a_plain_line_an_epoch(tiny: list[str], warm_shell: WarmShell, tmp_path: Path) -> None:
    shown = [override for override in tiny if "progress_bar" not in override]
    output = warm_shell.run("train", [*shown, "trainer.max_epochs=2"])
    assert "\r" not in output
    lines = re.findall(r"epoch (\d/2): loss [\d.]+, val mIoU [\d.]+, [\d.]+ images/s", output)
    assert lines == ["1/2", "2/2"]
    assert re.search(r"epoch 1/2: .* left", output)
    assert "report: " in output.splitlines()[-1]
    (log,) = (tmp_path / "runs").glob("*/*/train.log")
    assert "epoch 2/2" in log.read_text()
