"""How the units of a prompt stand to the one that the pointer is to choose."""

import torch
from torch import Tensor

from melformer.transformer.pointer import N_SHIFTS, UNSHIFTED, UnitMemory

CONTEXT = 4
"""Units before a candidate that are compared with those before the new unit."""


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of `table` (B, P, …) at `index` (B, T): (B, T, …)."""
    flat = index.reshape(*index.shape, *([1] * (table.dim() - 2))).expand(-1, -1, *table.shape[2:])
    return table.gather(1, flat)


def relations(
    k: int, memory: UnitMemory, contexts: Tensor, time: Tensor, sources: Tensor, here: Tensor
) -> Tensor:  # fmt: skip
    """How each unit of the prompt stands to the unit to be chosen: (B, T, P, N_RELATIONS).

    `time` (T,) counts units from the first new one. `sources` int64 (B, H + T, 3): what was chosen in the H units
    before `time[0]` and since, entry `H + i` belonging to `time[i]`; `contexts` are those of `compare_contexts`;
    `here` (B, T, 3) the sources already chosen in the same unit, -1 where none is yet.
    """
    n, bar, size = memory.n[:, None, None], memory.bar[:, None, None], memory.size
    count = len(time)
    history = sources.shape[1] - count
    j = torch.arange(size, device=sources.device)[None, None]
    place = (time[None, :, None] + n) % n  # where the loop played round would be
    onward = (sources[:, history - 1 : history - 1 + count] + 1) % n
    lag = (place - j) % n
    a_bar_ago = sources[:, :, k].gather(1, (history + time[None] - time[0] - memory.bar[:, None]).clamp(min=0))
    others = [stem for stem in range(3) if stem != k]
    flags = [
        j == onward[:, :, k, None], j == place, lag % 2 == 0, lag % bar == 0, lag % (2 * bar) == 0,
        lag % (4 * bar) == 0, j == (a_bar_ago[..., None] + bar) % n,
        *(j == chosen[:, :, stem, None] for stem in others for chosen in (here, onward)),
    ]  # fmt: skip
    level = memory.level[:, None, :, k].expand(-1, count, -1)
    at_place = gather_rows(memory.level[:, :, k : k + 1], place[:, :, 0])
    numbers = [level, level - at_place, lag / 64.0, *_unlike_loop(k, memory, place[:, :, 0])]
    apart = [torch.stack([row.expand(-1, count, size).float() for row in rows], dim=-1) for rows in (flags, numbers)]
    return torch.cat([apart[0], contexts, apart[1]], dim=-1)


def half_relations(memory: UnitMemory, time: Tensor, chosen: Tensor) -> Tensor:
    """How each half unit of the prompt stands to the second half of units whose first is `chosen` (B, T):
    (B, T, 2P, N_HALF_RELATIONS); `time` as for `relations`."""
    q = torch.arange(2 * memory.size, device=chosen.device)
    first, onward, loop = 2 * chosen, 2 * chosen + 1, 2 * (time[None] % memory.n[:, None]) + 1
    flags = [
        q == onward[..., None],
        q == first[..., None],
        q == loop[..., None],
        (q % 2 == 1).expand(*chosen.shape, -1),
    ]
    apart = [_rows(memory.half_distance, half) for half in (onward, first, loop)]
    louder = memory.half_level[:, None] - memory.half_level.gather(1, onward)[..., None]
    return torch.stack([*(flag.float() for flag in flags), *apart, louder], dim=-1)


def compare_contexts(memory: UnitMemory, sources: Tensor, count: int) -> Tensor:
    """How the units before each candidate differ from what was played before each of the last `count` units of
    `sources` (see `relations`): (B, count, P, 10), one unit back, then the mean of four."""
    history = sources.shape[1] - count
    past = sources.unfold(1, CONTEXT, 1)[:, history - CONTEXT : -1].flip(-1)  # (B, T, 3, 4), the latest first
    size, n_rows = memory.size, count * CONTEXT
    table = memory.distance.flatten(1, 2)  # (B, 5 · P, P)
    heard = past[:, :, (0, 1, 2, 1, 2)].transpose(2, 3) + size * torch.arange(5, device=past.device)
    rows = table.gather(1, heard.flatten(1)[..., None].expand(-1, -1, size)).view(len(past), n_rows, 5, size)
    back = torch.arange(1, CONTEXT + 1, device=past.device)
    earlier = (torch.arange(size, device=past.device) - back[:, None]) % memory.n[:, None, None]  # (B, 4, P)
    earlier = earlier.repeat(1, past.shape[1], 1)[:, :, None].expand_as(rows)
    found = rows.gather(3, earlier).view(len(past), count, CONTEXT, 5, size).transpose(3, 4)
    return torch.cat([found[:, :, 0], found.mean(dim=2)], dim=-1)


def _unlike_loop(k: int, memory: UnitMemory, place: Tensor) -> tuple[Tensor, Tensor]:
    """How far each unit is from what the loop played round would have: picture and chroma, each (B, T, P)."""
    picture = _rows(memory.distance[:, k], place)
    return picture, _rows(memory.distance[:, 2 + k], place) if k else torch.zeros_like(picture)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))


def shift_relations(
    k: int, memory: UnitMemory, candidates: Tensor, sources: Tensor, shifts: Tensor, here: Tensor, here_shift: Tensor,
    harmony: Tensor, key: Tensor,
) -> Tensor:  # fmt: skip
    """How each shift of candidates (B, T, N) suits: (B, T, N, 15, N_SHIFT_RELATIONS).

    `sources` and `shifts` (B, T, 3) are those of the unit before; `harmony` (B, T, 12) what other stems play in this
    unit, `key` (B, 12) what the prompt plays on the whole; `here` and `here_shift` (B, T, 3) what is chosen already.
    """
    n = memory.n[:, None, None]
    steps = torch.arange(N_SHIFTS, device=candidates.device)
    tones = memory.chroma[:, :, k - 1]
    own = gather_rows(tones, candidates.flatten(1)).unflatten(1, candidates.shape[1:])
    pitch = (torch.arange(12, device=candidates.device)[None] - (steps[:, None] - UNSHIFTED)) % 12
    moved = own[..., pitch]  # (B, T, N, 15, 12)
    fits = (moved * harmony[:, :, None, None]).sum(dim=-1)
    in_key = (moved * key[:, None, None, None]).sum(dim=-1)
    runs = (candidates == (sources[:, :, k, None] + 1) % n)[..., None]
    as_before = steps == shifts[:, :, k, None, None]
    other = 2 if k == 1 else 1
    follows = (candidates == here[:, :, other, None])[..., None] & (steps == here_shift[:, :, other, None, None])
    unshifted = (steps == UNSHIFTED).expand_as(fits)
    far = ((steps - UNSHIFTED).abs() / 7.0).expand_as(fits)
    stacked = [unshifted.float(), (runs & as_before).float(), follows.expand_as(fits).float(), fits, in_key, far]
    return torch.stack(stacked, dim=-1)
