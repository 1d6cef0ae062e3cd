"""What a config may read of the environment, and what it may set there."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from perpixel.config.errors import ConfigError

SETTABLE = frozenset(
    {
        *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        *("NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"),
        *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_DISTRIBUTED_DEBUG"),
        *("WANDB_SILENT", "WANDB_NOTES", "WANDB_TAGS"),
    }
)
"""Variables that tune and start nothing. Others can: GIT_CONFIG_… names commands, CXX a compiler, NCCL_NET_PLUGIN a
library, MPLBACKEND a module, WANDB_BASE_URL who receives the key."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|PRIVATE", re.IGNORECASE)


def variable(name: str, *default: Any) -> Any:
    """``${oc.env:NAME}``, but for secrets: a resolved config is saved, shown in reports and sent to trackers.

    Raises:
        ConfigError: the variable's name says that it is a secret.
    """
    if _SECRET.search(name):
        raise ConfigError(
            f"${{oc.env:{name}}}: a config may not read this variable. Resolved configs are saved and shared, and its "
            "name looks like a secret's; services read their keys from the environment by themselves."
        )
    return oc.env(name, *default)


def install() -> None:
    """Put the guarded resolver in the place of OmegaConf's."""
    OmegaConf.register_new_resolver("oc.env", variable, replace=True)
