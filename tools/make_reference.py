#!/usr/bin/env python3
"""docs/reference/commands.md and configuration.md from the code: `make reference`."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from melformer.cli import build_parser
from melformer.config import PRESETS
from melformer.stems.separator import SEPARATORS
from melformer.train.tempo.tempo_network import TEMPO_NETWORKS
from melformer.transformer.pointer import POINTERS

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
COMMANDS = """# Commands

Written by `make reference`. Exit status: 0; 2 for a mistake, with one line on stderr; 130 after Ctrl-C; 143 after
SIGTERM.
"""
CONFIGURATION = """# Configuration

Written by `make reference`. `config.json` in a model's folder holds codec and transformer; separator, pointer and
tracker say their sizes in their own files. `base` ships, `tiny` is for tests, `large` is for GPUs.
"""
MEANINGS = {
    "samples_per_beat": "samples of a beat that are encoded and decoded", "frames_per_beat": "STFT frames of a beat",
    "n_fft": "samples of a window", "latent_frames_per_beat": "frames of codes of a beat",
    "n_codebooks": "codes of a frame", "n_registers": "codebooks of partials, the last ones; one of levels is before",
    "codebook_size": "entries of a codebook", "codebook_dim": "width of a learned entry",
    "latent_dim": "width of the layers on latent frames", "frame_dim": "width of the layers on STFT frames",
    "n_encoder_layers": "encoder blocks on STFT frames", "n_encoder_latent_layers": "encoder blocks on latent frames",
    "n_decoder_layers": "decoder blocks on STFT frames", "n_decoder_latent_layers": "decoder blocks on latent frames",
    "expansion": "hidden width of a block over its width", "kernel_size": "frames of a convolution",
    "lookahead_frames": "latent frames that the decoder is late by", "n_source_bands": "bands of the scorer of sources",
    "source_dim": "width of the scorer of sources",
    "dim": "width of the blocks over beats (pointer: half beats; tracker: steps of 40 ms)",
    "n_layers": "blocks over beats",
    "n_heads": "query heads", "n_kv_heads": "key and value heads", "context_beats": "beats that attention reaches back",
    "beat_dim": "width of the blocks inside the beat", "n_beat_layers": "blocks inside the beat",
    "n_beat_heads": "query heads inside the beat", "n_beat_kv_heads": "key and value heads inside the beat",
    "embedding_dim": "width of a code's embedding", "pointer_dim": "width of the keys for copying",
    "hidden_multiple": "hidden widths of the MLP are multiples of it",
    "delays": "steps by which each codebook is predicted later than the first", "rope_base": "of rotary positions",
    "dropout": "in training", "window": "half beats that attention reaches back",
    "stem_dim": "width of a stem's half beat", "key_dim": "width of the keys that sources are chosen by",
    "channels": "channels of the five levels of the U-Net, the finest first",
    "front": "channels of the layers on frames of 10 ms", "hidden": "width of what judges the whole clip",
}  # fmt: skip


def commands_text() -> str:
    """Every command with its arguments."""
    parts = [COMMANDS]
    for parser in _leaves(build_parser()):
        rows = [(_names(action), (action.help or "").replace("|", "\\|")) for action in _arguments(parser)]
        parts += [
            f"## {parser.prog}\n",
            f"{parser.description}\n",
            *([_table(("argument", "meaning"), rows)] * bool(rows)),
        ]
    return "\n".join(parts)


def _leaves(parser: Any) -> Iterator[Any]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for child in group.choices.values():
            yield from _leaves(child)
    if not groups:
        if parser.complete is not None:
            parser.complete(parser)
        yield parser


def _arguments(parser: Any) -> list[Any]:
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _names(action: Any) -> str:
    value = "" if action.nargs == 0 else action.metavar or (f"{{{','.join(action.choices)}}}" if action.choices else "")
    names = ", ".join(action.option_strings)
    return f"`{names} {value}`".replace(" `", "`").replace("` ", "`").replace("|", "\\|")


def configuration_text() -> str:
    """Every size of a model, in each preset."""
    parts = [CONFIGURATION]
    names = ("base", "large", "tiny")
    models = {
        "codec": [PRESETS[name].codec for name in names],
        "transformer": [PRESETS[name].transformer for name in names],
        "pointer": [POINTERS[name] for name in names],
        "separator": [SEPARATORS[name] for name in names],
        "tracker": [TEMPO_NETWORKS[name] for name in names],
    }
    for section, sizes in models.items():
        limits = getattr(sizes[0], "LIMITS", {})
        rows = []
        for item in dataclasses.fields(sizes[0]):
            low, high = limits.get(item.name, ("", ""))
            values = [str(getattr(size, item.name)) for size in sizes]
            rows.append(
                (
                    f"`{item.name}`",
                    MEANINGS[item.name],
                    *values,
                    f"{low:,} to {high:,}" if limits.get(item.name) else "",
                )
            )
        parts += [f"## {section}\n", _table(("size", "meaning", *names, "allowed"), rows)]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows]) + "\n"


TEXTS = {"commands.md": commands_text, "configuration.md": configuration_text}


def main() -> int:
    """Write both pages."""
    for name, text in TEXTS.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
