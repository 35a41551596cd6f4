"""Keys and values of what a layer has seen, in a ring of fixed size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KVCache:
    """One layer's keys and values, each (B, n_kv_heads, capacity, head_dim); slot = position mod capacity.

    Keys are stored already rotated, so their order in the ring does not matter to attention. Memory and time
    per step stay the same however long a stream lasts.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, batch: int, n_kv_heads: int, capacity: int, head_dim: int, like: Tensor) -> "KVCache":
        """A cache with nothing in it, of the type of `like` and where that is."""
        shape = (batch, n_kv_heads, capacity, head_dim)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    @property
    def capacity(self) -> int:
        return self.keys.shape[2]

    def fill(self, keys: Tensor, values: Tensor) -> None:
        """Store positions 0 … T − 1 (B, n_kv_heads, T, head_dim) in an empty cache; of more than fit, the last."""
        n_positions = keys.shape[2]
        kept = torch.arange(max(0, n_positions - self.capacity), n_positions, device=keys.device)
        self.keys[:, :, kept % self.capacity] = keys[:, :, kept]
        self.values[:, :, kept % self.capacity] = values[:, :, kept]

    def copy_step(self, joint: "KVCache", row: int, position: int) -> None:
        """Store what row `row` of a joint cache holds at `position`."""
        slot = position % self.capacity
        self.keys[:, :, slot] = joint.keys[row, :, slot]
        self.values[:, :, slot] = joint.values[row, :, slot]

    def append(self, keys: Tensor, values: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Store one step (B, n_kv_heads, 1, head_dim) at `position`; give all that is held, oldest slots first."""
        slot = position % self.capacity
        self.keys[:, :, slot : slot + 1] = keys
        self.values[:, :, slot : slot + 1] = values
        held = min(position + 1, self.capacity)
        return self.keys[:, :, :held], self.values[:, :, :held]


def join_caches(caches: Sequence[KVCache]) -> KVCache:
    """One cache with the rows of several; a copy."""
    return KVCache(torch.cat([cache.keys for cache in caches]), torch.cat([cache.values for cache in caches]))
