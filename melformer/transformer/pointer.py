"""The beat level over stems: for every half beat and stem, which half beat of the prompt sounds, and how transposed.

A pointer network (Vinyals et al. 2015) on LLaMA blocks. Units of the prompt are the memory; each new unit draws one
choice a stem, in the order other, bass, drums, each seeing what was chosen before it. A choice is a unit of the prompt
with a shift in semitones, silence, or "new".
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.errors import ConfigError
from melformer.transformer.block import TransformerStack

ORDER = (2, 1, 0)
"""Stems in the order of choosing: other, bass, drums (indices into `melformer.stems.STEMS`)."""
N_SHIFTS, UNSHIFTED = 15, 7
N_RELATIONS, N_SHIFT_RELATIONS = 24, 6
_CONTEXT = 4
"""Units before a candidate that are compared with those before the new unit."""


@dataclass(frozen=True)
class PointerConfig:
    """Sizes of the pointer; `window` is the number of units that attention reaches back."""

    dim: int = 192
    n_layers: int = 4
    n_heads: int = 6
    n_kv_heads: int = 2
    window: int = 256
    stem_dim: int = 64
    key_dim: int = 64
    dropout: float = 0.15

    LIMITS = {
        "dim": (8, 2_048), "n_layers": (1, 32), "n_heads": (1, 64), "n_kv_heads": (1, 64), "window": (16, 4_096),
        "stem_dim": (4, 512), "key_dim": (4, 512),
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, (low, high) in self.LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"pointer.{name} is {value!r}; it must be a whole number from {low} to {high}.")
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ConfigError(f"pointer.dropout is {self.dropout!r}; it must be from 0 to 1.")
        if self.dim % (2 * self.n_heads) or self.n_heads % self.n_kv_heads:
            raise ConfigError("pointer: heads must divide the width into even parts, and key-value heads the heads.")


POINTERS = {
    "base": PointerConfig(),
    "large": PointerConfig(dim=512, n_layers=8, n_heads=8, stem_dim=128, key_dim=128),
    "tiny": PointerConfig(dim=24, n_layers=1, n_heads=2, n_kv_heads=1, stem_dim=8, key_dim=8, dropout=0.0),
}
"""Sizes by preset: `base` ships, `tiny` is for tests, `large` wants graphics cards."""


@dataclass
class UnitMemory:
    """What a prompt is to the pointer; B prompts of at most P units, `n` (B,) long.

    `stems` (B, P, 3, stem_dim) embeds each stem's units, `silence` (3, stem_dim) a silent one; `distance` (B, 5, P, P)
    compares units: level pictures of the three stems, chroma of bass and other; `chroma` (B, P, 2, 12) of bass and
    other, unit length; `level` (B, P, 3) in dB over 60; `bar` (B,) units in a bar.
    """

    n: Tensor
    bar: Tensor
    stems: Tensor
    distance: Tensor
    chroma: Tensor
    level: Tensor
    keys: Tensor | None = None

    @property
    def size(self) -> int:
        return self.stems.shape[1]


class Pointer(nn.Module):
    """Scores of every choice of the next unit, for each stem."""

    def __init__(self, config: PointerConfig, n_mel: int = 24, n_frames: int = 6, n_chroma: int = 24) -> None:
        super().__init__()
        self.config, dim, stem, key = config, config.dim, config.stem_dim, config.key_dim
        sizes = [n_mel * n_frames + (n_chroma if k else 0) for k in range(3)]
        self.embed_stem = nn.ModuleList(
            nn.Sequential(nn.Linear(n, 128), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(128, stem)) for n in sizes
        )
        self.to_unit = nn.Linear(3 * stem, dim)
        self.place_in_bar, self.bar_in_phrase = nn.Embedding(64, dim), nn.Embedding(8, dim)
        self.tempo = nn.Linear(1, dim)
        self.condition = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, dim))
        self.unconditioned, self.cut = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.stack = TransformerStack(
            config.n_layers, dim, config.n_heads, config.n_kv_heads, config.window, 10_000.0, 32, config.dropout
        )
        self.query = nn.ModuleList(nn.Linear(dim, key) for _ in range(3))
        self.key = nn.ModuleList(nn.Linear(dim + stem, key) for _ in range(3))
        self.chosen = nn.ModuleList(nn.Linear(stem, dim) for _ in range(3))
        self.relation = nn.ModuleList(
            nn.Sequential(nn.Linear(N_RELATIONS, 48), nn.GELU(), nn.Linear(48, 1)) for _ in range(3)
        )
        self.weigh = nn.ModuleList(nn.Linear(dim, N_RELATIONS) for _ in range(3))
        self.special = nn.ModuleList(nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, 2)) for _ in range(3))
        self.shift = nn.ModuleList(nn.Linear(dim, N_SHIFTS) for _ in range(2))
        self.shift_relation = nn.ModuleList(
            nn.Sequential(nn.Linear(N_SHIFT_RELATIONS, 16), nn.GELU(), nn.Linear(16, 1)) for _ in range(2)
        )

    def memory(self, mel_db: Tensor, chroma: Tensor, n: Tensor, bar: Tensor) -> UnitMemory:
        """Read prompts: `mel_db` (B, P, 3, n_mel, n_frames) from -60 to 0 dB, `chroma` (B, P, 2, 12, n), energies."""
        chroma = chroma.clamp(min=0.0).sqrt()
        level_of = chroma.square().sum(dim=3).sqrt()
        each = chroma / level_of.clamp(min=1e-6)[:, :, :, None]
        loud = level_of / level_of.amax(dim=(1, 3), keepdim=True).clamp(min=1e-6)
        each = each * (loud > 0.02)[:, :, :, None]
        stems = self._embed(mel_db, each)
        whole = F.normalize(each.sum(dim=-1), dim=-1)
        pictures = mel_db.permute(0, 2, 1, 3, 4).flatten(3)
        apart = torch.cdist(pictures.flatten(0, 1), pictures.flatten(0, 1), p=1).unflatten(0, pictures.shape[:2])
        tones = whole.permute(0, 2, 1, 3)
        distance = torch.cat([apart / pictures.shape[-1] / 8.0, 1.0 - tones @ tones.transpose(2, 3)], dim=1)
        level = (10 ** (mel_db / 10)).mean(dim=(3, 4)).clamp(min=1e-6).log10().div(6.0)
        return UnitMemory(n, bar, stems, distance, whole, level)

    def _embed(self, mel_db: Tensor, chroma: Tensor) -> Tensor:
        pictures = (mel_db / 30.0 + 1.0).flatten(3)
        tones = chroma.flatten(3)
        inputs = [
            torch.cat([pictures[:, :, k], tones[:, :, k - 1]], dim=-1) if k else pictures[:, :, 0] for k in range(3)
        ]
        return torch.stack([embed(x) for embed, x in zip(self.embed_stem, inputs)], dim=2)

    def silence(self) -> Tensor:
        """The embedding of silence in each stem, (3, stem_dim)."""
        device = self.cut.device
        mel = torch.full((1, 1, 3, 24, 6), -60.0, device=device)
        return self._embed(mel, torch.zeros(1, 1, 2, 12, 2, device=device))[0, 0]

    def positions(self, first: int, count: int, bar: Tensor, tempo: Tensor) -> Tensor:
        """Embeddings of the places from `first` on in bar and phrase, and of log2(BPM / 120): (B, count, dim)."""
        place = first + torch.arange(count, device=bar.device)[None]
        in_bar = (place % bar[:, None]).clamp(max=63)
        in_phrase = torch.div(place, bar[:, None], rounding_mode="floor") % 8
        return self.place_in_bar(in_bar) + self.bar_in_phrase(in_phrase) + self.tempo(tempo[:, None, None])

    def after_cut(self, condition: Tensor, given: Tensor) -> Tensor:
        """What is added where new units are predicted: (B, T, dim).

        `condition` (B, T, 6): the share of the new unit's bar that leaves the loop, and that falls silent, for each
        stem; `given` (B,) whether it is known.
        """
        return self.cut + torch.where(given[:, None, None], self.condition(condition), self.unconditioned)

    def source_scores(self, k: int, queries: Tensor, memory: UnitMemory, relations: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, P) of the prompt's units and (B, T, 2) of silence and new; queries (B, T, dim)."""
        assert memory.keys is not None
        match = self.query[k](queries) @ memory.keys[:, k].transpose(1, 2) / math.sqrt(self.config.key_dim)
        weighed = (relations @ self.weigh[k](queries)[..., None])[..., 0]  # what counts depends on what is asked
        scores = match + self.relation[k](relations)[..., 0] + weighed
        beyond = torch.arange(memory.size, device=scores.device)[None] >= memory.n[:, None]
        return scores.masked_fill(beyond[:, None], -1e9), self.special[k](queries)

    def shift_scores(self, k: int, queries: Tensor, relations: Tensor) -> Tensor:
        """Logits (B, T, N, 15) of the shifts of N candidates; relations (B, T, N, 15, N_SHIFT_RELATIONS)."""
        return self.shift[k - 1](queries)[:, :, None] + self.shift_relation[k - 1](relations)[..., 0]

    def with_keys(self, memory: UnitMemory, hidden: Tensor) -> UnitMemory:
        """Add the keys of the prompt's units: `hidden` (B, P, dim) are the stack's outputs over the prompt."""
        keys = [self.key[k](torch.cat([hidden, memory.stems[:, :, k]], dim=-1)) for k in range(3)]
        memory.keys = torch.stack(keys, dim=1)
        return memory


def gather_units(table: Tensor, index: Tensor) -> Tensor:
    """Rows of `table` (B, P, …) at `index` (B, T): (B, T, …)."""
    flat = index.reshape(*index.shape, *([1] * (table.dim() - 2))).expand(-1, -1, *table.shape[2:])
    return table.gather(1, flat)


def relations(k: int, memory: UnitMemory, time: Tensor, sources: Tensor, here: Tensor) -> Tensor:
    """How each unit of the prompt stands to the unit to be chosen: (B, T, P, N_RELATIONS).

    `time` (T,) counts units from the first new one. `sources` int64 (B, H + T, 3): what was chosen in the H units
    before `time[0]` and since, entry `H + i` belonging to `time[i]`; `here` (B, T, 3) the sources already chosen in the
    same unit, -1 where none is yet.
    """
    n, bar, size = memory.n[:, None, None], memory.bar[:, None, None], memory.size
    history = sources.shape[1] - len(time)
    j = torch.arange(size, device=sources.device)[None, None]
    place = (time[None, :, None] + n) % n  # where the loop played round would be
    at = lambda back: sources[:, history - back : history - back + len(time)]  # noqa: E731
    before = at(1)[:, :, k, None]
    lag = (place - j) % n
    flags = [
        j == (before + 1) % n, j == place, lag % 2 == 0, lag % bar == 0, lag % (2 * bar) == 0, lag % (4 * bar) == 0,
    ]  # fmt: skip
    a_bar_ago = _a_bar_ago(k, memory, sources, len(time))
    flags.append(j == (a_bar_ago + bar) % n)
    for other in range(3):
        if other != k:
            flags += [j == here[:, :, other, None], j == (at(1)[:, :, other, None] + 1) % n]
    contexts = []
    for back in range(1, _CONTEXT + 1):
        earlier = (j - back) % n
        past = at(back)
        rows = [_rows(memory.distance[:, c], past[:, :, (0, 1, 2, 1, 2)[c]]) for c in range(5)]
        contexts.append(torch.stack([row.gather(2, earlier.expand_as(row)) for row in rows], dim=-1))
    recent, mean = contexts[0], torch.stack(contexts).mean(dim=0)
    level = memory.level[:, None, :, k].expand(-1, len(time), -1)
    at_place = gather_units(memory.level[:, :, k : k + 1], place[:, :, 0])
    numbers = [level, level - at_place, (lag.float() / 64.0)]
    parts = [torch.stack([f.float().expand(-1, len(time), size) for f in flags], dim=-1), recent, mean,
             torch.stack([v.expand(-1, len(time), size) for v in numbers], dim=-1)]  # fmt: skip
    return torch.cat(parts, dim=-1)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))


def _a_bar_ago(k: int, memory: UnitMemory, sources: Tensor, count: int) -> Tensor:
    """What stem `k` played a bar before each unit, (B, T, 1); bars differ from clip to clip."""
    history = sources.shape[1] - count
    index = history + torch.arange(count, device=sources.device)[None] - memory.bar[:, None]
    return sources[:, :, k].gather(1, index.clamp(min=0))[..., None]


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
    own = gather_units(tones, candidates.flatten(1)).unflatten(1, candidates.shape[1:])
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
