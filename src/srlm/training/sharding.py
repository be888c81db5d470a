"""FSDP2: each process holds a share of every weight, gradient and moment, and gathers a block when it runs.

accelerate shards on accelerators alone, so torch's `fully_shard` is called here, on a CPU as on GPUs. The
embeddings, the last norm and the head are one group, which stays gathered from the forward pass to the
backward pass: the head is called again outside of the model's forward pass, and may be the embeddings' table.
"""

import os
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from transformers.modeling_layers import GradientCheckpointingLayer


def shard(model: Any, size: int, device: str, precision: str) -> None:
    """Share a model out over `size` processes, in place; what is on another device goes to `device`.

    Blocks are gathered in `precision` and gradients summed in float32. Of an accelerate config two keys are
    followed: fsdp_reshard_after_forward and fsdp_offload_params.
    """
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    shared: dict[str, Any] = {
        "mesh": init_device_mesh(device, (size,)),
        "offload_policy": CPUOffloadPolicy() if _asked("FSDP_OFFLOAD_PARAMS", "false") else OffloadPolicy(),
    }
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(
                module,
                reshard_after_forward=_asked("FSDP_RESHARD_AFTER_FORWARD", "true"),
                mp_policy=half if precision == "bfloat16" else MixedPrecisionPolicy(),
                **shared,
            )
    fully_shard(model, reshard_after_forward=False, **shared)


def _asked(name: str, default: str) -> bool:
    return os.environ.get(name, default).lower() == "true"


def is_sharded(model: Any) -> bool:
    """Whether a model was given to `shard`."""
    return isinstance(model, FSDPModule)


def reshard(model: Any) -> None:
    """Let each process hold its share alone: what stayed gathered after a forward pass is given back."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_state(model: Any) -> dict[str, Any]:
    """All weights of a sharded model, in the main process's memory; empty in the others. All must call it.

    Tables that are one (tied embeddings) are one here, too.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(model, options=options)
    first: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        same = first.setdefault(id(weight), name)
        if same in state and name in state:
            state[name] = state[same]
    return state
