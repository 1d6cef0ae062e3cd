"""MiT's weights (SegFormer, Xie et al. 2021) under Hugging Face's and mmsegmentation's names, in smp's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

STAGES = (
    (r"patch_embeddings\.(\d+)\.proj\.", "patch_embed{}.proj."),  # Hugging Face
    (r"patch_embeddings\.(\d+)\.layer_norm\.", "patch_embed{}.norm."),
    (r"block\.(\d+)\.(\d+)\.", "block{}.{}."),
    (r"layer_norm\.(\d+)\.", "norm{}."),
    (r"stages\.(\d+)\.patch_embeddings\.proj\.", "patch_embed{}.proj."),  # Hugging Face's transformers 5
    (r"stages\.(\d+)\.patch_embeddings\.layer_norm\.", "patch_embed{}.norm."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.", "block{}.{}."),
    (r"stages\.(\d+)\.layer_norm\.", "norm{}."),
    (r"layers\.(\d+)\.0\.projection\.", "patch_embed{}.proj."),  # mmsegmentation
    (r"layers\.(\d+)\.0\.norm\.", "patch_embed{}.norm."),
    (r"layers\.(\d+)\.1\.(\d+)\.", "block{}.{}."),
    (r"layers\.(\d+)\.2\.", "norm{}."),
)
"""How the others name stages (from 0, smp from 1) and their blocks."""

PARTS = {
    "layer_norm_1.": "norm1.",  # Hugging Face
    "layer_norm_2.": "norm2.",
    "attention.self.query.": "attn.q.",
    "attention.self.key.": "attn.k.",
    "attention.self.value.": "attn.v.",
    "attention.self.sr.": "attn.sr.",
    "attention.self.layer_norm.": "attn.norm.",
    "attention.output.dense.": "attn.proj.",
    "mlp.dense1.": "mlp.fc1.",
    "mlp.dense2.": "mlp.fc2.",
    "layernorm_before.": "norm1.",  # transformers 5
    "layernorm_after.": "norm2.",
    "attention.q_proj.": "attn.q.",
    "attention.k_proj.": "attn.k.",
    "attention.v_proj.": "attn.v.",
    "attention.o_proj.": "attn.proj.",
    "attention.sequence_reduction.sequence_reduction.": "attn.sr.",
    "attention.sequence_reduction.layer_norm.": "attn.norm.",
    "attn.attn.in_proj_": "attn.qkv.",  # mmsegmentation
    "attn.attn.out_proj.": "attn.proj.",
    "ffn.layers.0.": "mlp.fc1.",
    "ffn.layers.1.": "mlp.dwconv.dwconv.",
    "ffn.layers.4.": "mlp.fc2.",
}
"""How they name the parts of a block."""


def as_smps_mit(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by smp's names where they have another project's; keys and values become one matrix, as in smp.

    What is not recognised, such as a decoder, keeps its name.
    """
    named = {_smps_name(name): tensor for name, tensor in source.items()}
    joined: dict[str, Tensor] = {}
    for name, tensor in named.items():
        module, _, kind = name.rpartition(".")
        if module.endswith("attn.qkv"):
            channels = len(tensor) // 3
            stem = module.removesuffix("qkv")
            joined[f"{stem}q.{kind}"], joined[f"{stem}kv.{kind}"] = tensor[:channels], tensor[channels:]
        elif module.endswith("attn.k") and (value := f"{module[:-1]}v.{kind}") in named:
            joined[f"{module}v.{kind}"] = torch.cat([tensor, named[value]])
        elif not (module.endswith("attn.v") and f"{module[:-1]}k.{kind}" in named):
            joined[name] = tensor
    return joined


def _smps_name(name: str) -> str:
    for pattern, template in STAGES:
        if found := re.search(rf"(?:^|\.){pattern}", name):
            stage, *block = found.groups()
            return template.format(int(stage) + 1, *block) + _smps_part(name[found.end() :])
    return name


def _smps_part(name: str) -> str:
    return next((ours + name.removeprefix(theirs) for theirs, ours in PARTS.items() if name.startswith(theirs)), name)
