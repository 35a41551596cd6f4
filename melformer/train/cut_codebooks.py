"""A checkpoint with only its first codebooks, to go on training from:

python -m melformer.train.cut_codebooks CHECKPOINT OUT_DIR --codebooks 8

The finest codebooks may say nothing that the decoder hears (`codec_report` and docs/decisions.md tell), yet cost the
transformer bits and time. What they added on average to the transformer's inputs is kept in its constants; the rest is
for more training (`melformer train transformer --init OUT_DIR --codec OUT_DIR`).
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from melformer.config import Config
from melformer.errors import MelformerError, RequestError
from melformer.hub import load_bundle
from melformer.hub.bundle import Bundle, save_bundle


def cut_codebooks(bundle: Bundle, n: int) -> tuple[Config, dict[str, Tensor]]:
    """Configuration and tensors of a bundle with its first `n` codebooks. Errors: RequestError."""
    had = bundle.config.codec.n_codebooks
    if not 1 <= n < had:
        raise RequestError(f"{n} codebooks were asked for; of {had}, 1 to {had - 1} can be kept.")
    if bundle.config.codec.n_registers:
        raise RequestError("Its last codebooks say levels and partials, which nothing else does: they cannot be cut.")
    delays = bundle.config.transformer.delays[:n]
    config = replace(
        bundle.config, codec=replace(bundle.config.codec, n_codebooks=n),
        transformer=replace(bundle.config.transformer, delays=delays),
    )  # fmt: skip
    gone = tuple(f"codec.quantizer.codebooks.{q}." for q in range(n, had))
    tensors = {name: tensor.float() for name, tensor in bundle.tensors.items() if not name.startswith(gone)}
    _cut_beat_level(tensors, config, had)
    _cut_inside(tensors, config, bundle.config.transformer.delays)
    return config, {name: tensor.to(bundle.tensors[name].dtype) for name, tensor in tensors.items()}


def _cut_beat_level(tensors: dict[str, Tensor], config: Config, had: int) -> None:
    """The beat's embedding without the codes that are gone, with their mean."""
    n, size = config.codec.n_codebooks, config.codec.codebook_size
    table = tensors["transformer.beat_table.weight"]
    weight = tensors["transformer.beat_in.weight"].unflatten(1, (-1, had, table.shape[1]))
    means = table.unflatten(0, (had, size)).mean(dim=1)
    tensors["transformer.beat_in.bias"] = tensors["transformer.beat_in.bias"] + torch.einsum(
        "dfqe,qe->d", weight[:, :, n:], means[n:]
    )
    tensors["transformer.beat_in.weight"] = weight[:, :, :n].flatten(1)
    tensors["transformer.beat_table.weight"] = table[: n * size]


def _cut_inside(tensors: dict[str, Tensor], config: Config, had: tuple[int, ...]) -> None:
    """Steps, classifier and gates without the codes that are gone, with their mean in each step's constant."""
    n, size = config.codec.n_codebooks, config.codec.codebook_size
    n_steps = config.codec.latent_frames_per_beat + max(config.transformer.delays)
    means = tensors["transformer.codes.weight"].unflatten(0, (len(had), size)).mean(dim=1)
    steps = tensors["transformer.step_embedding"][:n_steps].clone()
    for q in range(n, len(had)):
        steps[had[q] + 1 :] += means[q]  # a step hears what the one before it said
    tensors["transformer.step_embedding"] = steps
    for name in ("codes.weight", "codes.bias"):
        tensors[f"transformer.{name}"] = tensors[f"transformer.{name}"][: n * size]
    for name in ("gate.weight", "gate.bias"):
        tensors[f"transformer.{name}"] = tensors[f"transformer.{name}"][:n]


def main() -> int:
    """Write the smaller checkpoint; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="Keep only a checkpoint's first codebooks.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--codebooks", type=int, required=True, metavar="N")
    args = parser.parse_args()
    try:
        bundle = load_bundle(args.checkpoint)
        config, tensors = cut_codebooks(bundle, args.codebooks)
        card = (bundle.path / "README.md").read_text(encoding="utf-8").rstrip()
        card += (
            f"\n\nOf {bundle.config.codec.n_codebooks} codebooks the first {args.codebooks} were kept; what is said"
            " above of parameters and measures is of all.\n"
        )
        save_bundle(args.out, config, tensors, card)
    except MelformerError as error:
        print(f"cut_codebooks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
