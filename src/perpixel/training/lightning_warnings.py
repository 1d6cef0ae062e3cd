"""Lightning's advertising and its remarks on choices that are deliberate here; real warnings pass."""

from __future__ import annotations

import logging
import warnings

_MESSAGES = (
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*is smaller than the logging interval.*",
    r".*The `srun` command is available.*",  # ranks are started here, in a cluster's job as anywhere
    r".*does not have many workers.*",
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run goes on in its directory
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*resuming from a checkpoint that ended before the epoch ended.*",  # the sampler goes on behind what was seen
    r".*It is recommended to use .*sync_dist=True.*",  # scores come from states that are summed over ranks already
    r".*module\(s\) in eval mode at the start of training.*",  # frozen encoders are meant to be
    r".*Starting from v1\.9\.0, `tensorboardX` has been removed.*",
)


def silence_lightning_warnings() -> None:
    """Call once per process before a trainer is made."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message=message)
