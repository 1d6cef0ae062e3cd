"""Two processes of one seed end with the same weights, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.commands import Shell

# A decoder with dropout, batch norm, random crops and colours, workers: everything that draws random numbers.
RANDOM = ["model=fpn", "encoder=mobilenet_v2", "augment=default", "data.num_workers=2", "trainer.max_epochs=2"]


@pytest.mark.slow
def test_one_seed_one_result(tiny: list[str], shell: Shell) -> None:
    plain = [
        override for override in tiny if not override.startswith(("model", "data.num_workers", "trainer.max_epochs"))
    ]

    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        shell.run("train", [*plain, *RANDOM, f"seed={seed}", f"hydra.run.dir={name}"])
        return load_file(Path(shell.directory) / name / "model" / "model.safetensors")

    first, again, other = weights("first", 1), weights("again", 1), weights("other", 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
