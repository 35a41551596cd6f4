"""Measure a checkpoint's codec on a folder of loops:

python -m melformer.evaluate.codec_report CHECKPOINT_DIR LOOPS_DIR [--references] [--clips] [--json]
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from melformer.audio.fold import fold_bpm
from melformer.errors import MelformerError
from melformer.evaluate import codec_part, tables
from melformer.evaluate.codes import bits_per_second
from melformer.evaluate.material import folder_clips
from melformer.evaluate.report import plain

if TYPE_CHECKING:
    from melformer.evaluate.bare_codec import BareCodec


def main(argv: list[str] | None = None) -> int:
    """Print the codec's measures; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="Measure a checkpoint's codec on a folder of loops.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("loops", type=Path)
    parser.add_argument("--references", action="store_true", help="also Opus, MP3 and noise")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N loops")
    parser.add_argument("--clips", action="store_true", help="one line per loop")
    parser.add_argument("--visqol", action="store_true", help="also ViSQOL, where installed (slow)")
    parser.add_argument("--speeds", action="store_true", help="also at 0.8 and 1.25 times the speed")
    parser.add_argument("--no-codes", action="store_true", help="skip usage and stability")
    parser.add_argument("--json", action="store_true")
    try:
        print(report(parser.parse_args(argv)))
    except MelformerError as error:
        print(f"codec_report: {error}", file=sys.stderr)
        return 2
    return 0


def report(arguments: argparse.Namespace) -> str:
    """The report as text or JSON."""
    clips = folder_clips(arguments.loops)[0][: arguments.limit]
    codec = load(arguments.checkpoint)
    config = codec.config
    sizes = (config.latent_frames_per_beat, config.n_codebooks, config.codebook_size)
    systems = {
        "this codec": codec_part.measure_codec(
            clips, codec.reconstruct, lambda bpm: bits_per_second(*sizes, fold_bpm(bpm)[0]) / 1000.0, arguments.visqol
        )
    }
    if arguments.references:
        systems |= codec_part.measure_references(clips, arguments.visqol)
    codes = None if arguments.no_codes else codec_part.measure_codes(clips, codec.encode, config.codebook_size)
    speeds = codec_part.measure_speeds(clips, codec.reconstruct) if arguments.speeds else None
    if arguments.json:
        measured = {k: asdict(v) for k, v in systems.items()}
        return json.dumps(plain({"systems": measured, "codes": codes and asdict(codes), "mel_at_speed": speeds}))
    parts = [tables.systems_table(systems)]
    parts += [tables.clips_table(systems["this codec"])] if arguments.clips else []
    parts += [tables.codes_table(codes)] if codes else []
    parts += [tables.table(["speed", "mel"], [[speed, mel] for speed, mel in speeds.items()])] if speeds else []
    return "\n\n".join(parts)


def load(checkpoint: Path) -> "BareCodec":
    """The codec of a whole model, or one still in training (`codec.safetensors`). Errors: CheckpointError."""
    from melformer.evaluate.bare_codec import BareCodec  # imports torch: after the arguments have been checked

    if (checkpoint / "codec.safetensors").exists():
        return BareCodec.from_folder(checkpoint)
    from melformer.generate import Melformer

    return BareCodec(Melformer.from_pretrained(checkpoint).codec)


if __name__ == "__main__":
    sys.exit(main())
