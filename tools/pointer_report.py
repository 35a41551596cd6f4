#!/usr/bin/env python3
"""What the pointer's choices cost on held-out passages, beside predictors that only count.

    python tools/pointer_report.py --passages 60 -o docs/results/pointer.json

Passages of the engine whose seeds are never trained on, with their true stems and with separated ones. Nats are those
of all right choices together (`melformer.data.pointer_batches`); a unit "repeats" where the loop played round is right.
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from melformer.data.pointer_batches import Batch, make_batch
from melformer.data.unit_dataset import UnitClip, unit_clip
from melformer.evaluate.results import write_results
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED
from melformer.generate import Melformer
from melformer.stems import STEMS, Stems
from melformer.train.tasks.pointer import choice_logits, choice_nats
from melformer.transformer.pointer import N_SHIFTS, UNSHIFTED, Pointer

N_BEATS, N_BATCHES, BATCH = 64, 12, 16
COUNTING_SEED = FIRST_HELD_OUT_SEED + 5_000  # the predictors that count are fitted from here on
FLOOR = 1e-6
CONSTANT, MIXTURE, N_GRAM = "the loop played round", "best mixture", "n-gram over choices"
PREDICTORS = {CONSTANT: (0,), "the last bar again": (2,), MIXTURE: tuple(range(7)), N_GRAM: tuple(range(7))}
"""By the components that each mixes (see `components`); all but the floor of `CONSTANT` and the last bar are fitted."""
N_CLASSES = 5  # of a choice, for the n-gram: in order, onward, the bar before, silent, another


def clips(model: Melformer, first_seed: int, n: int, separated: bool) -> list[UnitClip]:
    """Held-out passages as units, by their true stems or by separated ones alone."""
    from melformer.corpus import compose, render_stems
    from melformer.corpus.notes import passage_notes

    found = []
    for seed in tqdm(range(first_seed, first_seed + n), desc="passages", unit="passage"):
        passage = compose(seed, n_beats=N_BEATS)
        stems = Stems(**render_stems(passage)[1])
        clip = unit_clip(
            stems, passage_notes(passage), passage.bpm, passage.n_beats, passage.beats_per_bar,
            model.separator if separated else None,
        )  # fmt: skip
        if clip is not None:
            found.append(replace(clip, mel=clip.mel[-1:], chroma=clip.chroma[-1:]))
    return found


def batches(material: list[UnitClip]) -> list[Batch]:
    return [make_batch(material, np.random.default_rng([11, i]), BATCH, augment=False) for i in range(N_BATCHES)]


def components(batch: Batch, k: int) -> np.ndarray:
    """The probability (B, T, 7) that simple predictors give to the right choices of a stem.

    They are: the loop played round; on from the last choice; the bar before once more; any unit of the prompt; any,
    transposed; silence; new.
    """
    valid, n = batch.valid[k].numpy(), batch.n.numpy()
    size, count = (valid.shape[-1] - 2) // N_SHIFTS, valid.shape[1]
    table = valid[..., :-2].reshape(len(valid), count, size, N_SHIFTS)
    rows, time = np.arange(len(valid))[:, None], np.arange(count)[None]
    places = [(time % n[:, None], np.full((len(valid), count), UNSHIFTED)), *_followed(batch, k)]
    heard = np.arange(size) < n[:, None]
    right = [table[rows, time, source, shift] for source, shift in places]
    right.append((table[..., UNSHIFTED] & heard[:, None]).sum(axis=-1) / n[:, None])
    right.append((table & heard[:, None, :, None]).sum(axis=(-2, -1)) / (n[:, None] * N_SHIFTS))
    return np.stack([*right, valid[..., -2], valid[..., -1]], axis=-1).astype(np.float64)


def _followed(batch: Batch, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Source and shift that go on from the choice before, and from the one of a bar before: (B, T) each."""
    n, bar = batch.n.numpy()[:, None], batch.bar.numpy()[:, None]
    size = int(n.max())
    source = np.concatenate([(n + np.arange(-size, 0)[None]) % n, batch.choice[..., k].numpy()], axis=1)
    shift = np.concatenate([np.full((len(n), size), UNSHIFTED), batch.shift[..., k].numpy()], axis=1)
    at = size + np.arange(batch.choice.shape[1])[None]
    rows = np.arange(len(n))[:, None]
    onward = (source[rows, at - 1] + 1) % n, shift[rows, at - 1]
    return [onward, ((source[rows, at - bar] + bar) % n, shift[rows, at - bar])]


def contexts(batch: Batch, k: int) -> np.ndarray:
    """What an n-gram knows: the classes of the last two choices, and whether a bar begins: (B, T)."""
    (onward, _), (again, _) = _followed(batch, k)
    choice, kind = batch.choice[..., k].numpy(), batch.kind[..., k].numpy()
    time = np.arange(choice.shape[1])[None]
    in_order = choice == time % batch.n.numpy()[:, None]
    found = np.select([kind == 1, in_order, choice == onward, choice == again], [3, 0, 1, 2], 4)
    one, two = (np.pad(found, ((0, 0), (lag, 0)))[:, : found.shape[1]] for lag in (1, 2))
    begins = time % batch.bar.numpy()[:, None] == 0
    return (one * N_CLASSES + two) * 2 + begins


def fit_mixture(parts: np.ndarray, n_rounds: int = 100) -> np.ndarray:
    """Weights of the components by expectation maximisation: (7,) from (n, 7)."""
    weights = np.full(parts.shape[1], 1.0 / parts.shape[1])
    for _ in range(n_rounds):
        share = weights * parts
        total = share.sum(axis=1, keepdims=True)
        share = (share / np.maximum(total, FLOOR))[total[:, 0] > 0]
        weights = (share.sum(axis=0) + 0.1) / (len(share) + 0.1 * parts.shape[1])
    return weights


def fit_predictors(material: list[UnitClip], k: int) -> dict[str, np.ndarray]:
    """Weights of each predictor's components, (1, 7), or (contexts, 7) of the n-gram."""
    made = batches(material)
    there = np.concatenate([_there(batch, k).ravel() for batch in made])
    parts = np.concatenate([components(batch, k).reshape(-1, 7) for batch in made])[there]
    context = np.concatenate([contexts(batch, k).ravel() for batch in made])[there]
    found = {}
    for name, chosen in PREDICTORS.items():
        own = parts * np.isin(np.arange(7), [*chosen, 4, 5, 6])  # a floor of every choice there is
        whole = fit_mixture(own)
        each = [own[context == c] for c in range(2 * N_CLASSES**2)]
        by_context = [fit_mixture(rows) if len(rows) > 50 else whole for rows in each]
        found[name] = np.stack(by_context) if name == N_GRAM else whole[None]
    return found


def _there(batch: Batch, k: int) -> np.ndarray:
    return (batch.weight[..., k] > 0).numpy()


@torch.no_grad()
def measure(pointer: Pointer, material: list[UnitClip], predictors: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Per stem: nats a choice of the pointer, knowing the condition or not, and of every predictor, on units that
    repeat and on others; how often the likeliest choice is right; how often it is transposed where the truth is."""
    rows: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in STEMS}
    for batch in batches(material):
        logits = {}
        for given in (True, False):
            batch.given[:] = given
            logits[given] = choice_logits(pointer, batch)[0]
        for k, name in enumerate(STEMS):
            valid, there = batch.valid[k], _there(batch, k)
            best = logits[True][k].argmax(dim=-1)
            table = valid[..., :-2].unflatten(-1, (-1, N_SHIFTS)).any(dim=2).numpy()
            parts, context = components(batch, k), contexts(batch, k)
            row = {
                "pointer": choice_nats(logits[True][k], valid).clamp(max=30.0).numpy(),
                "pointer, no condition": choice_nats(logits[False][k], valid).clamp(max=30.0).numpy(),
                "right": valid.gather(-1, best[..., None])[..., 0].numpy(),
                "repeats": parts[..., 0] > 0,
                "whole bar repeats": (batch.condition[..., k] == 0).numpy(),
                "must move": table.any(axis=-1) & ~table[..., UNSHIFTED],
                "moved": ((best % N_SHIFTS != UNSHIFTED) & (best < valid.shape[-1] - 2)).numpy(),
            }
            for predictor, weights in predictors[k].items():
                own = weights[context if len(weights) > 1 else np.zeros_like(context)]
                row[predictor] = -np.log(np.maximum((own * parts).sum(axis=-1), FLOOR))
            rows[name].append({key: value[there] for key, value in row.items()})
    return {
        name: _summary({key: np.concatenate([r[key] for r in found]) for key in found[0]})
        for name, found in rows.items()
    }


def _summary(found: dict[str, np.ndarray]) -> dict[str, Any]:
    repeats, move = found["repeats"], found["must move"]
    nats = {
        name: {"all": values.mean(), "repeating": values[repeats].mean(), "other": values[~repeats].mean()}
        for name, values in found.items()
        if name in PREDICTORS or name.startswith("pointer")
    }
    best = min(nats[name]["other"] for name in PREDICTORS)
    return {
        "n": len(repeats), "repeating": repeats.mean(), "nats": nats,
        "right_where_repeating": found["right"][repeats].mean(),
        "right_in_repeating_bars": found["right"][found["whole bar repeats"]].mean(),
        "right_elsewhere": found["right"][~repeats].mean(),
        "under_best_predictor_elsewhere": 1.0 - nats["pointer, no condition"]["other"] / best,
        "under_best_predictor_elsewhere_conditioned": 1.0 - nats["pointer"]["other"] / best,
        "n_must_move": int(move.sum()), "moved_where_it_must": found["moved"][move].mean() if move.any() else None,
        "moved": found["moved"].mean(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=60, metavar="N")
    parser.add_argument("--model", default=None, metavar="FOLDER")
    parser.add_argument("-o", dest="out", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Melformer.from_pretrained(args.model)
    counted = clips(model, COUNTING_SEED, args.passages, separated=False)
    predictors = [fit_predictors(counted, k) for k in range(3)]
    found = {}
    for name, separated in (("true stems", False), ("separated", True)):
        material = clips(model, FIRST_HELD_OUT_SEED, args.passages, separated)
        found[name] = measure(model.pointer, material, predictors)
    for name, stems in found.items():
        for stem, row in stems.items():
            print(name, stem, {key: value for key, value in row.items() if key != "nats"})
            for predictor, values in row["nats"].items():
                print("   ", predictor, {key: round(float(value), 3) for key, value in values.items()})
    if args.out:
        write_results(args.out, f"python tools/pointer_report.py --passages {args.passages}", {"choices": found})


if __name__ == "__main__":
    main()
