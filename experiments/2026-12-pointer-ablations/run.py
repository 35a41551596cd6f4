"""What the pointer's choices owe to stems, labels from notes, the condition, transposition, separation and grain.

    python experiments/2026-12-pointer-ablations/run.py UNITS -o FOLDER --steps 1200

UNITS holds passages as `melformer train pointer` prepares them (RUN/beats/*.npz). Every variant learns from scratch for
as many steps of the same passages; every 15th is held out, and all are measured on those in the same way: how alike by
notes what the likeliest choice would play is to what was played there, where the loop played round is not right.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from melformer.data.pointer_batches import MAX_NEW, draw_windows, make_batch
from melformer.data.sound_units import alikeness_of_sound
from melformer.data.unit_dataset import UnitClip
from melformer.evaluate.results import write_results
from melformer.stems import STEMS
from melformer.stems.units import UnitPictures
from melformer.train.options import OPTIONS
from melformer.train.pointer import HELD_OUT_EVERY, choice_logits, pointer_loss
from melformer.transformer.pointer import N_SHIFTS, POINTERS, UNSHIFTED, Pointer

BATCH, N_BATCHES, SAME = 16, 24, 96
Transform = Callable[[UnitClip], UnitClip]


def true_stems(clip: UnitClip) -> UnitClip:
    return replace(clip, mel=clip.mel[:1], chroma=clip.chroma[:1])


def separated(clip: UnitClip) -> UnitClip:
    return replace(clip, mel=clip.mel[-1:], chroma=clip.chroma[-1:])


def labels_from_sound(clip: UnitClip) -> UnitClip:
    """Separated stems, and what a user's loop without notes would be labelled as."""
    pictures = UnitPictures(clip.mel[-1].astype(np.float32), clip.chroma[-1].astype(np.float32))
    alike, silent = alikeness_of_sound(pictures)
    return replace(separated(clip), alike=alike, silent=silent, halves=np.zeros_like(clip.halves))


def no_transposition(clip: UnitClip) -> UnitClip:
    alike = np.zeros_like(clip.alike)
    alike[..., UNSHIFTED] = clip.alike[..., UNSHIFTED]
    return replace(clip, alike=alike)


def mix(clip: UnitClip) -> UnitClip:
    """One stem that is all three: as unlike as the least alike of them on the mean, never transposed."""
    mel, chroma = np.zeros_like(clip.mel), np.zeros_like(clip.chroma)
    mel[:, :, 2] = clip.mel.astype(np.float32).sum(axis=2)
    chroma[:, :, 1] = clip.chroma.sum(axis=2)
    alike, silent = np.zeros_like(clip.alike), np.ones_like(clip.silent)
    sounding = [k for k in range(3) if not clip.silent[k].all()]
    alike[2, ..., UNSHIFTED] = clip.alike[sounding, ..., UNSHIFTED].astype(np.float32).mean(axis=0)
    silent[2] = clip.silent[sounding].all(axis=0)
    return replace(clip, mel=mel, chroma=chroma, alike=alike, silent=silent, halves=np.zeros_like(clip.halves))


def beats(clip: UnitClip) -> UnitClip:
    """Units of a beat: pairs of half beats, as alike as their halves on the mean."""
    n = clip.n_units // 2
    mel = clip.mel[:, : 2 * n].astype(np.float32)
    mel = mel.reshape(*mel.shape[:1], n, 2, *mel.shape[2:-1], 3, 2).mean(axis=-1)  # six frames of twice the length
    mel = np.moveaxis(mel, 2, -2).reshape(*mel.shape[:2], 3, 24, 6)
    chroma = np.moveaxis(clip.chroma[:, : 2 * n].reshape(len(clip.chroma), n, 2, 2, 12, 2).mean(axis=-1), 2, -1)
    pairs = [clip.alike[:, i : 2 * n : 2, i : 2 * n : 2].astype(np.float32) for i in range(2)]
    silent = clip.silent[:, : 2 * n : 2] & clip.silent[:, 1 : 2 * n : 2]
    halves = np.zeros((2 * n, 2 * n), np.int8)
    return replace(clip, mel=mel, chroma=chroma, alike=np.mean(pairs, axis=0).astype(np.int8), silent=silent,
                   halves=halves, bar=clip.bar // 2)  # fmt: skip


def same(clip: UnitClip) -> UnitClip:
    return clip


VARIANTS: dict[str, tuple[Transform, bool]] = {
    "all": (same, True),
    "mixes instead of stems": (mix, True),
    "labels from sound": (labels_from_sound, True),
    "no condition": (same, False),
    "no transposition": (no_transposition, True),
    "true stems alone": (true_stems, True),
    "separated stems alone": (separated, True),
    "grain of a beat": (beats, True),
}
"""How a variant changes what is learned from, and whether it knows its condition."""


def train(clips: list[UnitClip], n_steps: int, is_told: bool, seed: int) -> Pointer:
    """A pointer of the shipped size after `n_steps`, its weights averaged over the last of them."""
    options = replace(OPTIONS[("pointer", "base")], steps=n_steps)
    torch.manual_seed(seed)
    model = Pointer(POINTERS["base"])
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, betas=(options.beta1, options.beta2), weight_decay=options.weight_decay
    )
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = options.lr_at(step)
        batch = make_batch(clips, np.random.default_rng([seed, step]), BATCH)
        batch.given &= is_told
        torch.stack(list(pointer_loss(model, batch).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(options.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1.0 - decay)
    model.load_state_dict(average, strict=False)
    return model.eval()


@torch.inference_mode()
def measure(model: Pointer, name: str, held_out: list[UnitClip], hear: Transform, is_told: bool) -> dict[str, float]:
    """Percent of likeness of the likeliest choices, and the share that is the same music, where the loop is left."""
    change = VARIANTS[name][0] if name in ("mixes instead of stems", "grain of a beat") else same
    heard = [change(hear(clip)) for clip in held_out]
    rows: dict[str, list[np.ndarray]] = {stem: [] for stem in STEMS}
    for i in range(N_BATCHES):
        drawn, firsts, n = draw_windows(heard, np.random.default_rng([5, i]), BATCH)
        batch = make_batch(heard, np.random.default_rng([5, i]), BATCH, augment=False)
        batch.given[:] = is_told
        logits = choice_logits(model, batch)[0]
        for b, (clip, first) in enumerate(zip(drawn, firsts)):
            number = next(j for j, one in enumerate(heard) if one is clip)
            for k, stem in enumerate(STEMS):
                picked = logits[2 if change is mix else k][b, :, :-2].argmax(dim=-1).numpy()
                rows[stem].append(_likeness(held_out[number], k, picked, first, n, clip.n_units, change is beats))
    found = {}
    for stem, parts in rows.items():
        likeness = np.concatenate(parts)
        found[stem] = round(float(likeness.mean()), 1)
        found[f"{stem}, same"] = round(float((likeness >= SAME).mean()), 3)
    return found


def _likeness(
    clip: UnitClip, k: int, picked: np.ndarray, first: int, n: int, n_units: int, in_beats: bool
) -> np.ndarray:  # fmt: skip
    """Percent by which half beats of stem `k` are what the picks play, of those that sound and leave the loop."""
    n_new = min(n_units - first - n, MAX_NEW // 2 if in_beats else MAX_NEW)
    source, shift = np.divmod(picked[:n_new], N_SHIFTS)
    if in_beats:
        source, shift = np.repeat(2 * source, 2) + np.arange(2 * len(source)) % 2, np.repeat(shift, 2)
        first, n = 2 * first, 2 * n
    units = first + n + np.arange(len(source))
    loop = first + np.arange(len(source)) % n
    leaves = ~clip.silent[k, units] & (clip.alike[k, units, loop, UNSHIFTED] < SAME)
    leaves &= not clip.silent[k, first : first + n].all()
    return clip.alike[k, units, first + source, shift][leaves]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1_200)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = [UnitClip.load(path) for path in sorted(options.units.glob("*.npz"))]
    held_out, learned = clips[::HELD_OUT_EVERY], [c for i, c in enumerate(clips) if i % HELD_OUT_EVERY]
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.variants:
        path = options.out / f"{name.replace(' ', '_')}.json"
        if path.exists():
            continue
        change, is_told = VARIANTS[name]
        begun = time.process_time()
        model = train([change(clip) for clip in learned], options.steps, is_told, 0)
        minutes = (time.process_time() - begun) / 60.0
        found = {"core_minutes": round(minutes, 1), "true": measure(model, name, held_out, true_stems, is_told),
                 "separated": measure(model, name, held_out, separated, is_told)}  # fmt: skip
        if name == "all":
            found["separated, condition not known"] = measure(model, name, held_out, separated, False)
        path.write_text(json.dumps(found, indent=1))
        print(name, json.dumps(found), flush=True)
    values = {name: json.loads((options.out / f"{name.replace(' ', '_')}.json").read_text()) for name in VARIANTS
              if (options.out / f"{name.replace(' ', '_')}.json").exists()}  # fmt: skip
    sizes = {"n_passages": len(learned), "n_held_out": len(held_out), "steps": options.steps}
    command = f"run.py UNITS -o FOLDER --steps {options.steps}"
    write_results(options.out / "results.json", command, {**sizes, "variants": values})


if __name__ == "__main__":
    main()
