"""Two real processes count what one counts, to the integer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, torch
import torch.distributed as dist
from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration, ErrorPlaces, ImageCounts, SegmentationMetrics, SpatialMetrics

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
logits, target = torch.randn(7, 4, 9, 11), torch.randint(0, 4, (7, 9, 11))
target[:, 2:4] = 255
space = LabelSpace(("a", "b", "c", "d"), ((0, 0, 0),) * 4)
for kind in (SegmentationMetrics, SpatialMetrics, Calibration, ErrorPlaces):
    shared, alone = kind(space), kind(space)
    alone.distributed_available_fn = lambda: False
    for index in range(7):
        batch = logits[index : index + 1], target[index : index + 1]
        alone.update(*batch)
        if index % 2 == rank:
            shared.update(*batch)
    ours, whole = shared.compute(), alone.compute()
    assert ours.keys() == whole.keys()
    assert all(torch.equal(ours[name].nan_to_num(-1), whole[name].nan_to_num(-1)) for name in whole)
    assert shared.details == alone.details
    if kind is SegmentationMetrics:
        assert torch.equal(shared.total, alone.confusion)
        assert int(shared.confusion.sum()) == (4 - rank) * 77
for seen in (2, 8):  # ranks share the images, or the second one has none
    shared, alone = ImageCounts(space), ImageCounts(space)
    alone.distributed_available_fn = lambda: False
    for index in range(7):
        batch = logits[index : index + 1], target[index : index + 1], [f"ü{index}"]
        alone.update(*batch)
        if index % seen == rank or (seen == 8 and rank == 0):
            shared.update(*batch)
    if seen == 8 and rank == 1:
        shared.rows, shared.letters = [], []
    shared.compute(), alone.compute()
    ours, whole = shared.details["images"], alone.details["images"]
    assert ours["names"] == whole["names"] == tuple(f"ü{index}" for index in range(7))
    assert (ours["counts"] == whole["counts"]).all() and (ours["sizes"] == [[9, 11]] * 7).all()
open(f"{out}{rank}", "w").write("same")
"""


def test_two_ranks_are_one(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "store"), str(tmp_path / "rank")]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    ranks = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(rank), *arguments], env=paths, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    assert sorted(path.name for path in tmp_path.glob("rank*")) == ["rank0", "rank1"]
