"""A transformer that knows one codec's codes, made ready to learn another's:

python tools/translate_codes.py CHECKPOINT CODEC LOOPS OUT_DIR [--beats 6000]

A new codec says the same sounds in codes that mean something else, and a transformer would have to learn all music
again to speak them. But the same beats can be written in both. New code embeddings are chosen by ridge regression so
that a step of the beat sums to what the old codes' embeddings summed to; the rest of the transformer stays, and more
training does the rest (`melformer train transformer --init OUT_DIR --codec OUT_DIR`).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import loop_beats
from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.data.beat_dataset import find_clips, load_clip
from melformer.errors import MelformerError, RequestError
from melformer.hub import load_bundle
from melformer.hub.bundle import CARD_FILE, half_precision, save_bundle
from melformer.train.pretrained import bundle_codec, load_transformer, read_codec
from melformer.transformer.model import BeatTransformer

RIDGE = 2.0
"""How many occurrences a code needs before its own embedding outweighs its codebook's mean."""
UNSURE = 0.2
"""Spread of noise on the new embeddings, of the old ones' own: codes that look alike must be able to part."""


def both_codes(old: Codec, new: Codec, folder: Path, n_beats: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The same beats of a folder's loops in both codecs' codes: int64 (n, frames, n_codebooks) each, n ≥ n_beats unless
    the folder has less. Errors: RequestError where none of its files can be read."""
    rng = np.random.default_rng(seed)
    clips = find_clips(folder)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for index in rng.permutation(len(clips)).tolist():
        if sum(len(codes) for codes, _ in found) >= n_beats:
            break
        try:
            waveform, bpm = load_clip(clips[index])
        except MelformerError:
            continue  # a file that cannot be read teaches nothing
        beats = torch.from_numpy(loop_beats(waveform, bpm, old.config.samples_per_beat)[:32])
        if len(beats):
            found.append((old.encode(beats).numpy(), new.encode(beats).numpy()))
    if not found:
        raise RequestError(f"None of the loops in {folder} could be read; give others.")
    first, second = (torch.from_numpy(np.concatenate(part).astype(np.int64)) for part in zip(*found))
    return first, second


@torch.no_grad()
def translate(transformer: BeatTransformer, old_codes: Tensor, new_codes: Tensor, seed: int = 0) -> None:
    """Give a transformer embeddings of new codes, in place; both int64 (n, frames, n_codebooks) of the same beats.

    Errors: RequestError where the two differ in their sizes, or say more than the transformer has codebooks for.
    """
    if old_codes.shape != new_codes.shape or old_codes.shape[-1] != transformer.n_codebooks:
        raise RequestError("Both codecs must have the same frames a beat and as many codebooks as the transformer.")
    generator = torch.Generator().manual_seed(seed)
    table, size, pattern = transformer.codes, transformer.codebook_size, transformer.pattern
    counts = torch.stack([book.flatten().bincount(minlength=size) for book in new_codes.unbind(-1)]).float()
    means = _means(table.weight, old_codes, size)
    said = _one_hot(pattern.to_steps(new_codes), pattern.present, table.offsets, len(table.weight))
    wanted = table.embed(pattern.to_steps(old_codes), pattern.present).flatten(0, 1)
    gram = said.T @ said + RIDGE * torch.eye(len(table.weight))
    found = means + torch.linalg.solve(gram, said.T @ (wanted - said @ means))
    heard = transformer.beat_table.weight
    others = _conditional(heard, old_codes, new_codes, counts)
    for weight, values in ((table.weight, found), (heard, others)):
        noise = torch.randn(values.shape, generator=generator) * (UNSURE * weight.std())
        weight.copy_(values + noise)
    shares = (counts + 0.5) / (counts + 0.5).sum(dim=1, keepdim=True)
    table.bias.copy_(0.5 * (shares * size).log().flatten())


def _means(weight: Tensor, codes: Tensor, size: int) -> Tensor:
    """Each codebook's mean embedding, as often as its codes come, for all its entries: like `weight`."""
    rows = []
    for book, entries in zip(codes.unbind(-1), weight.split(size)):
        share = book.flatten().bincount(minlength=size).float() / book.numel()
        rows.append((share @ entries).expand(size, -1))
    return torch.cat(rows)


def _one_hot(steps: Tensor, present: Tensor, offsets: Tensor, n_entries: int) -> Tensor:
    """Which codes stand at each step: (n, S, n_codebooks) → float32 (n · S, n_entries)."""
    rows = torch.zeros(steps.shape[0] * steps.shape[1], n_entries)
    return rows.scatter_add_(1, (steps + offsets).flatten(0, 1), present.float().expand(steps.shape).flatten(0, 1))


def _conditional(weight: Tensor, old_codes: Tensor, new_codes: Tensor, counts: Tensor) -> Tensor:
    """What the old code of the same codebook is on average embedded as, for every new code: like `weight`."""
    size, tables = counts.shape[1], []
    for q, entries in enumerate(weight.split(size)):
        old = entries[old_codes[..., q].flatten()]
        sums = torch.zeros_like(entries).index_add_(0, new_codes[..., q].flatten(), old)
        tables.append((sums + old.mean(dim=0)) / (counts[q][:, None] + 1.0))
    return torch.cat(tables)


def main() -> int:
    """Write a bundle of the new codec and the translated transformer."""
    parser = argparse.ArgumentParser(description="Make a transformer ready to learn another codec's codes.")
    parser.add_argument("checkpoint", help="the bundle whose transformer is to be translated")
    parser.add_argument("codec", help="the new codec: a run's checkpoint, or a bundle")
    parser.add_argument("loops", type=Path, help="a folder of loops to be written in both")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--beats", type=int, default=6_000, metavar="N", help="how many beats to write (6,000)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        bundle, frozen = load_bundle(args.checkpoint), read_codec(args.codec)
        config, new = bundle.config, frozen.codec
        transformer = BeatTransformer(
            config.transformer, config.codec.latent_frames_per_beat, config.codec.codebook_size
        ).eval()
        load_transformer(transformer, bundle)
        translate(transformer, *both_codes(bundle_codec(bundle), new, args.loops, args.beats))
        tensors = half_precision(new.state_dict(), "codec.")
        tensors |= half_precision(transformer.state_dict(), "transformer.")
        card = (bundle.path / CARD_FILE).read_text(encoding="utf-8")
        save_bundle(args.out_dir, Config(new.config, config.transformer), tensors, card)
    except MelformerError as error:
        print(f"translate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
