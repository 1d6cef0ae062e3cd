"""torch's optimisers over the parameter groups that segmentation wants.

Encoder and rest can learn at different rates, and what has one dimension or none (norms, biases, scales) is not
decayed: shrinking it towards zero regularises nothing (He et al. 2019, "Bag of Tricks", section 3.2).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from perpixel.optim.ranges import within


class OptimizerFactory(ABC):
    """Makes an optimiser for a model.

    Args:
        lr: learning rate of everything outside the encoder.
        encoder_lr: learning rate of ``model.encoder``; None for the same.
        weight_decay: of parameters with two dimensions or more.

    Raises:
        ValueError: a value outside its range, named by its key.
    """

    def __init__(self, lr: float, encoder_lr: float | None = None, weight_decay: float = 0.0) -> None:
        self.lr = within("optimizer.lr", lr, 0, math.inf, "a learning rate")
        self.encoder_lr = within(
            "optimizer.encoder_lr", lr if encoder_lr is None else encoder_lr, 0, math.inf, "a learning rate"
        )
        self.weight_decay = within("optimizer.weight_decay", weight_decay, 0, math.inf, "a decay")

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimiser over all trainable parameters of a model.

        Raises:
            ValueError: no parameter is trainable.
        """
        groups = self.groups(model)
        if not groups:
            raise ValueError("the model has no trainable parameter: everything is frozen.")
        return self.make(groups)

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups named ``encoder``/``decoder`` × ``decay``/``no_decay``; empty ones are left out."""
        encoder = getattr(model, "encoder", None)
        inside = {id(parameter) for parameter in encoder.parameters()} if isinstance(encoder, nn.Module) else set()
        found: dict[str, dict[str, Any]] = {}
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue
            part, decays = ("encoder" if id(parameter) in inside else "decoder"), parameter.ndim > 1
            name = f"{part}/{'decay' if decays else 'no_decay'}"
            group = found.setdefault(name, {"name": name, "params": [], "lr": self._lr(part)})
            group["weight_decay"] = self.weight_decay if decays else 0.0
            group["params"].append(parameter)
        return list(found.values())

    def _lr(self, part: str) -> float:
        return self.encoder_lr if part == "encoder" else self.lr

    @abstractmethod
    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser over groups that carry their own ``lr`` and ``weight_decay``."""


class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        lr: float,
        encoder_lr: float | None = None,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(lr, encoder_lr, weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"optimizer.betas={list(betas)}: both are 0 or more and less than 1.")
        self.betas = (betas[0], betas[1])
        self.eps = within("optimizer.eps", eps, 0, math.inf, "what is added to the denominator")

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps)


class SGD(OptimizerFactory):
    """Stochastic gradient descent with momentum."""

    def __init__(
        self,
        lr: float,
        encoder_lr: float | None = None,
        weight_decay: float = 1e-4,
        momentum: float = 0.9,
        nesterov: bool = True,
    ) -> None:
        super().__init__(lr, encoder_lr, weight_decay)
        self.momentum = within("optimizer.momentum", momentum, 0, 1, "a momentum")
        if nesterov and momentum == 0:
            raise ValueError("optimizer.nesterov=true needs a momentum: set optimizer.nesterov=false, too.")
        self.nesterov = nesterov

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)
