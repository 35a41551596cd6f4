"""Windows of passages as batches, with the choices that are right by their notes: what the pointer learns from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.data.unit_dataset import UnitClip
from melformer.stems.units import FLOOR_DB, to_db
from melformer.transformer.pointer import DRUMS, N_SHIFTS, UNSHIFTED

MAX_PROMPT, MAX_NEW = 64, 32
EXACT, NEAR, NEAR_BAND = 96, 40, 3
"""Percent of likeness at which units are the same music; from which the nearest is a source; within which it is one."""
SURE, WEIGHTS = 55, (0.3, 0.6, 1.0)
"""Weights of choices whose nearest source is less alike than `SURE` percent, more, or the same music."""
CUT_LEAST, CUT_GAIN = 70, 5
"""Percent of likeness that both halves must have where drums are cut, and by how much more than the nearest unit's."""
DROP_CONDITION = 0.15
PROMPT_BARS = (1, 2, 4, 4, 4, 8)
"""Bars of a prompt, each as likely."""


@dataclass
class Batch:
    """Prompts and what follows them: see `make_batch`."""

    mel_db: Tensor
    chroma: Tensor
    n: Tensor
    bar: Tensor
    tempo: Tensor
    valid: list[Tensor]
    choice: Tensor
    shift: Tensor
    kind: Tensor
    weight: Tensor
    condition: Tensor
    given: Tensor
    halves: Tensor
    half_weight: Tensor


def draw_windows(clips: list[UnitClip], rng: np.random.Generator, size: int) -> tuple[list[UnitClip], list[int], int]:
    """Clips of one metre, the first unit of each window on a bar line, and the units of every prompt."""
    bar = clips[rng.integers(len(clips))].bar
    n = bar * int(rng.choice(PROMPT_BARS))
    fitting = [clip for clip in clips if clip.bar == bar and clip.n_units >= n + bar and n <= MAX_PROMPT]
    if not fitting:
        return draw_windows(clips, rng, size)
    drawn = [fitting[rng.integers(len(fitting))] for _ in range(size)]
    firsts = [int(rng.integers((clip.n_units - n - bar) // bar + 1)) * bar for clip in drawn]
    return drawn, firsts, n


def make_batch(clips: list[UnitClip], rng: np.random.Generator, size: int, augment: bool = True) -> Batch:
    """Windows of clips as tensors: prompts of P units, and up to `MAX_NEW` units that follow.

    `valid` of each stem is bool (B, MAX_NEW, P * 15 + 2), the choices that are right, `choice`, `shift` and `kind`
    int64 (B, MAX_NEW, 3) the one that is taken as history (kind 0: a source, 1: silence, 2: new, which sounds as its
    nearest source), `weight` (B, MAX_NEW, 3) of the loss, `condition` (B, MAX_NEW, 6) how much of each unit's
    bar leaves the loop, and falls silent, per stem. `halves` bool (B, MAX_NEW, 2P) are the half units that are right
    for the second half of drums after `choice`, `half_weight` (B, MAX_NEW) weighs them.
    """
    drawn, firsts, n = draw_windows(clips, rng, size)
    mel_db = np.full((size, n, 3, 24, 6), FLOOR_DB, np.float32)
    chroma = np.zeros((size, n, 2, 12, 2), np.float32)
    valid = [np.zeros((size, MAX_NEW, n * N_SHIFTS + 2), bool) for _ in range(3)]
    choice = np.zeros((size, MAX_NEW, 3), np.int64)
    shift = np.full((size, MAX_NEW, 3), UNSHIFTED, np.int64)
    kind = np.zeros((size, MAX_NEW, 3), np.int64)
    weight = np.zeros((size, MAX_NEW, 3), np.float32)
    condition = np.zeros((size, MAX_NEW, 6), np.float32)
    halves, half_weight = np.zeros((size, MAX_NEW, 2 * n), bool), np.zeros((size, MAX_NEW), np.float32)
    for b, (clip, first) in enumerate(zip(drawn, firsts)):
        count = min(MAX_NEW, clip.n_units - first - n)
        way = int(rng.integers(len(clip.mel)))
        part = slice(first, first + n)
        mel, tones = clip.mel[way, part].astype(np.float32), clip.chroma[way, part].astype(np.float32)
        if augment:
            mel, tones = _disturbed(mel, tones, rng)
        mel_db[b] = _noised(to_db(mel), rng) if augment else to_db(mel)
        chroma[b] = np.roll(tones, int(rng.integers(12)), axis=2) if augment else tones
        for k in range(3):
            alike = clip.alike[k, first + n : first + n + count, part]
            silent, heard = clip.silent[k, first + n : first + n + count], clip.silent[k, part]
            if heard.all():
                kind[b, :, k] = 1
                continue
            place = np.arange(count) % n
            in_order = (alike[np.arange(count), place, UNSHIFTED] >= EXACT) | (silent & heard[place])
            same = clip.alike[k, part, part, UNSHIFTED][place] >= EXACT
            taught = _but_the_loop(alike, same & ~in_order[:, None])
            known = clip.halves[2 * (first + n) : 2 * (first + n + count), 2 * first : 2 * (first + n)]
            cut = _cuts(known, taught.max(axis=(1, 2)), silent) if k == DRUMS else np.zeros(count, bool)
            taught[cut] = (np.arange(N_SHIFTS) == UNSHIFTED) * known[::2, ::2, None][cut]
            labels = _labels(taught, silent, heard, n, rng)
            valid[k][b, :count, :-2] = labels.valid.reshape(count, -1)
            valid[k][b, :count, -2] = silent
            valid[k][b, :count, -1] = labels.new
            choice[b, :count, k], shift[b, :count, k], kind[b, :count, k] = labels.choice, labels.shift, labels.kind
            weight[b, :count, k] = labels.weight
            if k == DRUMS and known.any():
                halves[b, :count] = _second_halves(known[1::2], labels.choice, cut)
                half_weight[b, :count] = labels.weight * (labels.kind == 0)
            condition[b, :count, k] = _by_bar(~in_order, clip.bar)
            condition[b, :count, 3 + k] = _by_bar(silent & ~heard[place], clip.bar)
    given = rng.random(size) >= DROP_CONDITION
    as_tensor = torch.from_numpy
    return Batch(
        as_tensor(mel_db), as_tensor(chroma), torch.full((size,), n), torch.tensor([c.bar for c in drawn]),
        torch.tensor([np.log2(c.bpm / 120.0) for c in drawn], dtype=torch.float32), [as_tensor(v) for v in valid],
        as_tensor(choice), as_tensor(shift), as_tensor(kind), as_tensor(weight), as_tensor(condition), as_tensor(given),
        as_tensor(halves), as_tensor(half_weight),
    )  # fmt: skip


def _cuts(halves: np.ndarray, best: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Which new units of drums are better made of two halves than of one unit: bool (T,); `halves` int8 (2T, 2P)."""
    least = np.minimum(halves[::2, ::2].max(axis=1), halves[1::2].max(axis=1))
    return ~silent & (best < EXACT) & (least >= CUT_LEAST) & (least > best + CUT_GAIN)


def _second_halves(second: np.ndarray, choice: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Half units that are right after a choice, bool (T, 2P): that which runs on, but where it is cut and differs."""
    count, n_halves = second.shape
    onward = np.arange(n_halves) == (2 * choice + 1)[:, None]
    same = second[np.arange(count), 2 * choice + 1] >= EXACT
    nearest = second >= np.minimum(second.max(axis=1) - NEAR_BAND, EXACT)[:, None]
    return np.where((cut & ~same)[:, None], nearest, onward)


def _but_the_loop(alike: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """`alike` without the sources that are `taken` (T, P): what leaves the loop is never taught as the loop's own
    unit, or one of the same music, however near that is."""
    left = alike.astype(np.int16)
    left[..., UNSHIFTED][taken] = 0
    return left


def _by_bar(flags: np.ndarray, bar: int) -> np.ndarray:
    """The share of each bar's units that are set, for each unit."""
    starts = np.arange(0, len(flags), bar)
    shares = np.add.reduceat(flags.astype(np.float32), starts) / np.diff(np.append(starts, len(flags)))
    return np.repeat(shares, bar)[: len(flags)]


def _disturbed(mel: np.ndarray, tones: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As a separator gives them: levels differ, and a part of every stem is heard in the others."""
    gains = 10 ** (rng.uniform(-6, 6, 3).astype(np.float32) / 20)
    mel = mel * gains[None, :, None, None]
    tones = tones * np.square(gains[1:])[None, :, None, None]
    leak = rng.uniform(0.0, 0.25) * rng.random((3, 3)).astype(np.float32) * (rng.random() < 0.8)
    np.fill_diagonal(leak, 1.0)
    mel = np.einsum("kl,ulfm->ukfm", leak, mel)
    tones = np.einsum("kl,ulcm->ukcm", np.square(leak[1:, 1:]), tones)
    return mel, tones


def _noised(mel_db: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tilt = rng.normal(0.0, rng.uniform(0, 3.0), (1, 3, mel_db.shape[2], 1))
    noise = rng.normal(0.0, rng.uniform(0, 1.5), mel_db.shape) if rng.random() < 0.6 else 0.0
    return np.clip(mel_db + tilt + noise, FLOOR_DB, 6.0).astype(np.float32)


@dataclass(frozen=True)
class _Labels:
    valid: np.ndarray
    new: np.ndarray
    choice: np.ndarray
    shift: np.ndarray
    kind: np.ndarray
    weight: np.ndarray


def _labels(alike: np.ndarray, silent: np.ndarray, heard: np.ndarray, n: int, rng: np.random.Generator) -> _Labels:
    """Right choices of one stem: sources whose notes are the same, else the nearest; and one path through them."""
    count = len(alike)
    best = alike.max(axis=(1, 2))
    valid = alike >= np.where(best >= EXACT, EXACT, np.maximum(best - NEAR_BAND, NEAR))[:, None, None]
    valid[silent] = False
    valid[np.ix_(silent, heard)] = np.arange(N_SHIFTS) == UNSHIFTED
    new = ~silent & (best < NEAR)
    valid[new] = False
    choice, shift = np.zeros(count, np.int64), np.full(count, UNSHIFTED, np.int64)
    source, moved = n - 1, UNSHIFTED
    for t in range(count):
        onward = (source + 1) % n
        if silent[t]:
            source, moved = onward, UNSHIFTED
        elif valid[t, onward, moved]:
            source = onward
        elif valid[t, t % n, UNSHIFTED]:
            source, moved = t % n, UNSHIFTED
        else:
            table = valid[t] if valid[t].any() else alike[t] >= max(1, best[t])
            rows, columns = np.nonzero(table)
            if len(rows):
                far = np.abs(columns - UNSHIFTED) * 4 + np.abs((t - rows) % n) % 2 * 2 + rng.random(len(rows))
                pick = int(np.argmin(far))
                source, moved = int(rows[pick]), int(columns[pick])
            else:
                source, moved = onward, UNSHIFTED
        choice[t], shift[t] = source, moved
    weight = np.select([best >= EXACT, (best >= SURE) | silent | new], WEIGHTS[:0:-1], WEIGHTS[0]).astype(np.float32)
    return _Labels(valid, new, choice, shift, np.where(silent, 1, np.where(new, 2, 0)), weight)
