"""Residual vector quantisation with small factorised codebooks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.codec.partials import PartialsCodebook


@dataclass(frozen=True)
class Quantized:
    """Quantised latents as the decoder takes them, codes (B, T, n_codebooks without those of partials), and the two
    training losses (scalars)."""

    latents: Tensor
    codes: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor


def nearest_entries(points: Tensor, entries: Tensor) -> Tensor:
    """The nearest of entries (n, dim) to each point (..., dim), by Euclid: int64 (...)."""
    scores = points.float() @ entries.float().T - 0.5 * entries.float().square().sum(dim=-1)
    return scores.argmax(dim=-1)


def k_means(points: Tensor, n_entries: int, generator: torch.Generator, rounds: int) -> Tensor:
    """Entries (n_entries, dim) for points (N, dim) by Lloyd 1982; one that has no points moves onto a random point."""
    entries = points[torch.randint(len(points), (n_entries,), generator=generator)]
    for _ in range(rounds):
        nearest = nearest_entries(points, entries)
        counts = torch.bincount(nearest, minlength=n_entries)
        sums = torch.zeros_like(entries).index_add_(0, nearest, points)
        anew = points[torch.randint(len(points), (n_entries,), generator=generator)]
        entries = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], anew)
    return entries


class VectorQuantizer(nn.Module):
    """One codebook: latents are projected to `codebook_dim`, and the nearest entry is chosen.

    Few dimensions keep the entries in use (Yu et al. 2021, "Improved VQGAN"; Kumar et al. 2023, DAC); entries
    that fall out of use all the same are moved onto latents that are seen.
    """

    usage: Tensor

    def __init__(self, latent_dim: int, codebook_size: int, codebook_dim: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(latent_dim, codebook_dim)
        self.project_out = nn.Linear(codebook_dim, latent_dim)
        self.codebook = nn.Parameter(torch.randn(codebook_size, codebook_dim))
        self.register_buffer("usage", torch.ones(codebook_size))

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents of codes: int64 (B, T) → (B, T, latent_dim)."""
        return self.project_out(F.embedding(codes, self.codebook))

    def encode(self, latents: Tensor) -> Tensor:
        """Nearest entries: (B, T, latent_dim) → int64 (B, T)."""
        return self._nearest(self.project_in(latents))

    def _nearest(self, projected: Tensor) -> Tensor:
        return nearest_entries(projected, self.codebook)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training step: → latents (B, T, latent_dim), codes (B, T), codebook and commitment loss (B, T).

        Gradients pass straight through to the projected latents.
        """
        projected = self.project_in(latents)
        codes = self._nearest(projected)
        if self.training:
            self._count(codes)
        entries = F.embedding(codes, self.codebook)
        codebook_loss = (entries - projected.detach()).square().mean(dim=-1)
        commitment_loss = (projected - entries.detach()).square().mean(dim=-1)
        return self.project_out(self.pass_gradient(projected, entries)), codes, codebook_loss, commitment_loss

    @staticmethod
    def pass_gradient(projected: Tensor, entries: Tensor) -> Tensor:
        """The entries in value, the projected latents in gradient (straight through): (..., codebook_dim) twice."""
        return projected + (entries - projected).detach()

    @torch.no_grad()
    def _count(self, codes: Tensor) -> None:
        counts = torch.bincount(codes.flatten(), minlength=len(self.codebook)).float()
        self.usage.mul_(0.99).add_(counts * (0.01 * len(self.codebook) / codes.numel()))

    @torch.no_grad()
    def fit(self, latents: Tensor, generator: torch.Generator, rounds: int = 10) -> None:
        """Project to the directions in which latents (N, latent_dim) differ most; entries by k-means (Lloyd 1982)."""
        centre = latents.mean(dim=0)
        _, _, directions = torch.linalg.svd(torch.cov((latents - centre).T))
        directions = directions[: self.codebook.shape[1]]
        self.project_in.weight.copy_(directions)
        self.project_in.bias.copy_(-directions @ centre)
        self.project_out.weight.copy_(directions.T)
        self.project_out.bias.copy_(centre)
        self.codebook.copy_(k_means(self.project_in(latents), len(self.codebook), generator, rounds))
        self.usage.fill_(1.0)

    @torch.no_grad()
    def restart(self, latents: Tensor, generator: torch.Generator, threshold: float) -> int:
        """Move entries used less than `threshold` of their share onto random latents; says how many moved."""
        dead = (self.usage < threshold).nonzero()[:, 0]
        pool = self.project_in(latents).reshape(-1, self.codebook.shape[1])
        if len(dead):
            chosen = torch.randint(len(pool), (len(dead),), generator=generator)
            self.codebook[dead] = pool[chosen].to(self.codebook.dtype)
            self.usage[dead] = 1.0
        return len(dead)


N_LEVELS = 2


class LevelQuantizer(nn.Module):
    """One codebook for the levels of two registers, log10 powers, fitted by k-means and then fixed."""

    codebook: Tensor

    def __init__(self, latent_dim: int, codebook_size: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.randn(codebook_size, N_LEVELS))
        self.project_out = nn.Sequential(nn.Linear(N_LEVELS, 96), nn.GELU(), nn.Linear(96, latent_dim))

    def encode(self, levels: Tensor) -> Tensor:
        """Nearest entries: (B, T, N_LEVELS) → int64 (B, T)."""
        return nearest_entries(levels, self.codebook)

    def latents(self, levels: Tensor) -> Tensor:
        """(B, T, N_LEVELS) → (B, T, latent_dim)."""
        return self.project_out(0.3 * levels.float() + 1.0)

    def lookup(self, codes: Tensor) -> Tensor:
        """int64 (B, T) → (B, T, latent_dim)."""
        return self.latents(F.embedding(codes, self.codebook))

    def powers(self, codes: Tensor) -> Tensor:
        """The power that codes state of each register: int64 (...) → (..., N_LEVELS)."""
        return 10.0 ** F.embedding(codes, self.codebook)

    def average(self) -> Tensor:
        """The latent of the entries' mean: (latent_dim,)."""
        return self.latents(self.codebook.mean(dim=0))

    @torch.no_grad()
    def fit(self, levels: Tensor, generator: torch.Generator, rounds: int = 20) -> None:
        """Entries by k-means of levels (N, N_LEVELS)."""
        self.codebook.copy_(k_means(levels.float(), len(self.codebook), generator, rounds))


class ResidualVectorQuantizer(nn.Module):
    """Learned codebooks in a row, each quantising what the earlier ones left over (SoundStream), then one of levels and
    `n_registers` fixed ones of partials: `n_codebooks` in all."""

    def __init__(
        self, latent_dim: int, n_codebooks: int, codebook_size: int, codebook_dim: int, n_registers: int,
        per_segment: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.latent_dim, self.n_learned = latent_dim, n_codebooks - n_registers - 1
        self.codebooks = nn.ModuleList(
            VectorQuantizer(latent_dim, codebook_size, codebook_dim) for _ in range(self.n_learned)
        )
        self.level = LevelQuantizer(latent_dim, codebook_size)
        self.partials = PartialsCodebook(n_registers, codebook_size, per_segment)

    def books(self) -> Iterator[VectorQuantizer]:
        """The learned codebooks, coarsest first."""
        return (book for book in self.codebooks if isinstance(book, VectorQuantizer))

    def encode(self, latents: Tensor) -> Tensor:
        """Latents (B, T, …) as `Codec.encode_latents` gives them → codes int64 (B, T, n_codebooks)."""
        latents, levels, partials = self._split(latents)
        return torch.cat([self._encode_learned(latents, levels), self.partials.encode(partials)], dim=-1)

    def _encode_learned(self, latents: Tensor, levels: Tensor) -> Tensor:
        codes = []
        for codebook in self.books():
            codes.append(codebook.encode(latents))
            latents = latents - codebook.lookup(codes[-1])
        return torch.stack([*codes, self.level.encode(levels)], dim=-1)

    def _split(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of shapes, levels, and partials, where there are any."""
        rest = latents.shape[-1] - self.latent_dim - N_LEVELS
        shape, levels, partials = latents.split([self.latent_dim, N_LEVELS, rest], dim=-1)
        return shape, levels, partials

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 (B, T, n) of the first n codebooks → latents (B, T, latent_dim + 2 · n_registers), the last of
        them partials.

        Without the codebook of levels all is as loud as its entries on average; a register that is missing has no
        partials.
        """
        found = [book.lookup(codes[..., q]) for q, book in zip(range(codes.shape[-1]), self.books())]
        latents = torch.stack(found).sum(dim=0)
        levels, partials = codes[..., self.n_learned : self.n_learned + 1], codes[..., self.n_learned + 1 :]
        latents = latents + (self.level.lookup(levels[..., 0]) if levels.shape[-1] else self.level.average())
        partials = F.pad(partials, (0, self.partials.n_registers - partials.shape[-1]))
        return torch.cat([latents, self.partials.lookup(partials)], dim=-1)

    def colours(self, codes: Tensor) -> Tensor:
        """Codes int64 (B, T, n_codebooks) → latents without partials (B, T, latent_dim)."""
        return self.decode(codes)[..., : self.latent_dim]

    def forward(self, latents: Tensor, depths: Tensor | None = None, bypass: bool = False) -> Quantized:
        """Quantise; `depths` (B,) limits how many learned codebooks each item uses (quantizer dropout).

        `bypass` leaves the latents as they are: rounding to random entries would teach the decoder to ignore them.
        """
        latents, levels, partials = self._split(latents)
        if bypass:
            # the codebooks take part with no weight: processes that average gradients must all have one for everything
            nothing = 0.0 * torch.stack([parameter.sum() for parameter in self.parameters()]).sum()
            codes_now = self._encode_learned(latents.detach(), levels)
            latents = latents + self.level.latents(levels)
            return Quantized(self._beside(latents + nothing, partials), codes_now, nothing, nothing)
        residual, total, codes = latents, torch.zeros_like(latents), []
        losses = [latents.new_zeros(()), latents.new_zeros(())]
        for q, codebook in enumerate(self.codebooks):
            mask = latents.new_ones(len(latents)) if depths is None else (depths > q).to(latents.dtype)
            found, book_codes, *parts = codebook(residual)
            total = total + found * mask[:, None, None]
            residual = residual - found.detach()
            codes.append(book_codes)
            for i, part in enumerate(parts):
                losses[i] = losses[i] + (part.mean(dim=1) * mask).mean()
        codes.append(self.level.encode(levels))
        total = total + self.level.lookup(codes[-1])
        return Quantized(self._beside(total, partials), torch.stack(codes, dim=-1), *losses)

    def _beside(self, latents: Tensor, partials: Tensor) -> Tensor:
        """Latents (B, T, latent_dim), and beside them what partials' codes will say: as `decode` gives them."""
        return torch.cat([latents, self.partials.lookup(self.partials.encode(partials))], dim=-1)

    @torch.no_grad()
    def fit(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start every codebook from latents (N, …), each from what the earlier ones leave over."""
        latents, levels, _ = self._split(latents)
        self.level.fit(levels, generator)
        for codebook in self.books():
            codebook.fit(latents, generator)
            latents = latents - codebook.lookup(codebook.encode(latents))

    @torch.no_grad()
    def restart(self, latents: Tensor, generator: torch.Generator, threshold: float = 0.03) -> int:
        """Restart little-used entries of every learned codebook from latents (B, T, …); says how many moved."""
        latents, moved = self._split(latents)[0], 0
        for codebook in self.books():
            moved += codebook.restart(latents, generator, threshold)
            latents = latents - codebook.lookup(codebook.encode(latents))
        return moved
