"""The beat level over stems: for every half beat and stem, which half beat of the prompt sounds, and how transposed.

A pointer network (Vinyals et al. 2015) on LLaMA blocks. Units of the prompt are the memory; each new unit draws one
choice a stem, in the order other, bass, drums, each seeing what was chosen before it. A choice is a unit of the prompt
with a shift in semitones, silence, or "new". Drums may also be cut in the middle of a unit: which half unit of the
prompt their second half is comes last.
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
N_RELATIONS, N_SHIFT_RELATIONS, N_HALF_RELATIONS = 26, 6, 8
DRUMS, BASS = 0, 1


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
    other, unit length; `level` (B, P, 3) in dB over 60; `bar` (B,) units in a bar. Of the halves of its units of
    drums `halves` (B, 2P, stem_dim) are embeddings, `half_distance` (B, 2P, 2P) compares them, `half_level` (B, 2P).
    """

    n: Tensor
    bar: Tensor
    stems: Tensor
    distance: Tensor
    chroma: Tensor
    level: Tensor
    halves: Tensor
    half_distance: Tensor
    half_level: Tensor
    keys: Tensor | None = None
    half_keys: Tensor | None = None

    @property
    def size(self) -> int:
        return self.stems.shape[1]

    def repeated(self, batch: int) -> "UnitMemory":
        """One prompt as a batch of the same, without copies and keys."""
        parts = (
            self.n, self.bar, self.stems, self.distance, self.chroma, self.level, self.halves, self.half_distance,
            self.half_level,
        )  # fmt: skip
        return UnitMemory(*[part.expand(batch, *part.shape[1:]) for part in parts])


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
        self.embed_half = nn.Sequential(
            nn.Linear(n_mel * n_frames // 2, 64), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(64, stem)
        )
        self.half_query, self.half_key = nn.Linear(dim, key), nn.Linear(dim + stem, key)
        self.half_relation = nn.Sequential(nn.Linear(N_HALF_RELATIONS, 16), nn.GELU(), nn.Linear(16, 1))
        self.half_weigh = nn.Linear(dim, N_HALF_RELATIONS)
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
        halves = mel_db[:, :, DRUMS].unflatten(3, (2, -1)).permute(0, 1, 3, 2, 4).flatten(1, 2)  # (B, 2P, n_mel, 3)
        flat = halves.flatten(2)
        half_distance = torch.cdist(flat, flat, p=1) / flat.shape[-1] / 8.0
        half_level = (10 ** (halves / 10)).mean(dim=(2, 3)).clamp(min=1e-6).log10().div(6.0)
        embedded = self.embed_half(flat / 30.0 + 1.0)
        return UnitMemory(n, bar, stems, distance, whole, level, embedded, half_distance, half_level)

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

    def half_scores(self, queries: Tensor, memory: UnitMemory, relations: Tensor) -> Tensor:
        """Logits (B, T, 2P) of the half units that drums may go on with in a unit's middle; queries (B, T, dim)."""
        assert memory.half_keys is not None
        match = self.half_query(queries) @ memory.half_keys.transpose(1, 2) / math.sqrt(self.config.key_dim)
        weighed = (relations @ self.half_weigh(queries)[..., None])[..., 0]
        scores = match + self.half_relation(relations)[..., 0] + weighed
        beyond = torch.arange(2 * memory.size, device=scores.device)[None] >= 2 * memory.n[:, None]
        return scores.masked_fill(beyond[:, None], -1e9)

    def with_keys(self, memory: UnitMemory, hidden: Tensor) -> UnitMemory:
        """Add the keys of the prompt's units: `hidden` (B, P, dim) are the stack's outputs over the prompt."""
        keys = [self.key[k](torch.cat([hidden, memory.stems[:, :, k]], dim=-1)) for k in range(3)]
        memory.keys = torch.stack(keys, dim=1)
        memory.half_keys = self.half_key(torch.cat([hidden.repeat_interleave(2, dim=1), memory.halves], dim=-1))
        return memory
