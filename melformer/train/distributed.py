"""Which processes train together, and on what device each of them computes."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

_PATIENCE = timedelta(hours=24)
"""How long processes wait for the first one, which may have hours of material to compose and to read."""


def training_device() -> torch.device:
    """The graphics card of this process, where there is one; else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def join_processes() -> tuple[int, int]:
    """Rank and number of processes, as `torchrun` tells; 0 and 1 without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        device = training_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    return int(os.environ.get("RANK", "0")), world


def barrier() -> None:
    """Wait until every process has come this far."""
    if dist.is_initialized():
        dist.barrier()
