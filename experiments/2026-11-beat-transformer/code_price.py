"""What a codec's codes cost the transformer: bits and milliseconds a beat, of a small one that learned them.

    python experiments/2026-11-beat-transformer/code_price.py CHECKPOINT BEATS OUT_DIR --codebooks 12 8 --minutes 5

CHECKPOINT is a codec's (`codec.safetensors`), BEATS a cache of beats such as `codec_choices` leaves in its folder.
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from melformer.evaluate.bare_codec import BareCodec
from melformer.runtime.packed import has_bytes, use_bytes
from run import beat_cost
from scaling import OPTIONS, SIZES, curve

from melformer.config import Config, TransformerConfig
from melformer.data.tokens import write_tokens
from melformer.train.tasks.transformer import TransformerTask

DELAYS = (0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)


@dataclass(frozen=True)
class Price:
    """Bits that a held-out beat needs, milliseconds to compose one, its in-beat steps, and the steps of training."""

    bits_per_beat: float
    milliseconds: float
    n_steps: int
    trained_steps: int


def price(checkpoint: Path, beats: Path, out: Path, n_codebooks: int, minutes: float) -> Price:
    """Train on the first `n_codebooks` of the codes for so many minutes of a core; `out` keeps tokens and runs."""
    codec = BareCodec.from_folder(checkpoint)
    if has_bytes():
        use_bytes(codec.codec.encoder)
    write_tokens(codec.codec, beats, out / "tokens")
    tokens = out / f"tokens_{n_codebooks}"
    keep_codebooks(out / "tokens", tokens, n_codebooks)
    delays = DELAYS[:n_codebooks]
    transformer = TransformerConfig(**SIZES["middle"], delays=delays)
    config = Config(replace(codec.config, n_codebooks=n_codebooks), transformer)
    task = TransformerTask(config, tokens, OPTIONS)
    found = curve(f"{n_codebooks} codebooks", task, out / f"run_{n_codebooks}", minutes)
    last = found["points"][-1]
    n_steps = task.module.transformer.pattern.n_steps
    return Price(last["bits_per_beat"], beat_cost(task)[0], n_steps, last["step"])


def keep_codebooks(tokens: Path, out: Path, n_codebooks: int) -> None:
    """A copy of a folder of tokens with only the first codebooks."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("clips.jsonl", "tokens.json"):
        shutil.copyfile(tokens / name, out / name)
    for shard in sorted(tokens.glob("shard-*.npy")):
        np.save(out / shard.name, np.load(shard)[..., :n_codebooks])


def main() -> None:
    """Print a line for each number of codebooks."""
    parser = argparse.ArgumentParser(description="What a codec's codes cost a small transformer.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("beats", type=Path, metavar="BEATS")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--codebooks", type=int, nargs="+", default=[12], metavar="N")
    parser.add_argument("--minutes", type=float, default=5.0, help="of one core, for each (5)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for n_codebooks in args.codebooks:
        paid = price(args.checkpoint, args.beats, args.out, n_codebooks, args.minutes)
        print(f"{n_codebooks} codebooks: {paid.bits_per_beat:.0f} bits a beat after {paid.trained_steps} steps, "
              f"{paid.milliseconds:.1f} ms a beat in {paid.n_steps} steps", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
