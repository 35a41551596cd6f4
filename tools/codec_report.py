"""Measure a checkpoint's codec on a folder of loops:

python tools/codec_report.py CHECKPOINT_DIR LOOPS_DIR [--references] [--speeds] [--stereo] [--int8] …
"""

import argparse
import copy
import json
import sys
from dataclasses import asdict, astuple, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.audio.grid import model_tempo
from melformer.errors import MelformerError
from melformer.evaluate import codec_scores, tables
from melformer.evaluate.metrics.codebook_use import bits_per_second
from melformer.evaluate.report import plain
from melformer.evaluate.sets import EvaluationClip, folder_clips

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
    parser.add_argument("--stereo", action="store_true", help="also errors between the channels")
    parser.add_argument("--int8", action="store_true", help="also decoding in eight bits: quality and speed")
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
    found = _measure(arguments, clips, codec)
    if arguments.json:
        return json.dumps(plain({name: _plain(part) for name, part in found.items()}))
    parts = [tables.systems_table(found["systems"])]
    parts += [tables.clips_table(found["systems"]["this codec"])] if arguments.clips else []
    parts += [tables.codes_table(found["codes"])] if found["codes"] else []
    if found["mel_at_speed"]:
        mels = list(found["mel_at_speed"].values())
        rows = [[str(speed), mel] for speed, mel in found["mel_at_speed"].items()]
        parts += [tables.table(["speed", "mel"], [*rows, ["spread %", 100.0 * (max(mels) - min(mels)) / mels[1]]])]
    for name in ("stereo", "decoding"):
        if found[name]:
            keys = [f.name for f in fields(next(iter(found[name].values())))]
            parts += [tables.table([name, *keys], [[k, *astuple(v)] for k, v in found[name].items()])]
    return "\n\n".join(parts)


def _measure(arguments: argparse.Namespace, clips: list[EvaluationClip], codec: "BareCodec") -> dict[str, Any]:
    """All that was asked for; None for the rest."""
    from codec_extras import measure_decoding, measure_stereo

    from melformer.evaluate.bare_codec import BareCodec
    from melformer.runtime.packed import use_bytes, use_floats

    use_floats(codec.codec)
    config = codec.config
    sizes = (config.latent_frames_per_beat, config.n_codebooks, config.codebook_size)
    ours = {"this codec": codec}
    if arguments.int8:
        eight = copy.deepcopy(codec.codec)
        use_bytes(eight.decoder)
        ours["in eight bits"] = BareCodec(eight)

    def kbps(bpm: float) -> float:
        return bits_per_second(*sizes, model_tempo(bpm)[0]) / 1000.0

    systems = {
        name: codec_scores.measure_codec(clips, each.reconstruct, kbps, arguments.visqol) for name, each in ours.items()
    }
    if arguments.references:
        systems |= codec_scores.measure_references(clips, arguments.visqol)
    longest = max(clips, key=lambda clip: clip.n_beats)
    codes_to_time = codec.encode(longest.waveform, longest.bpm) if arguments.int8 else None
    return {
        "systems": systems,
        "codes": None if arguments.no_codes else codec_scores.measure_codes(clips, codec.encode, config.codebook_size),
        "mel_at_speed": codec_scores.measure_speeds(clips, codec.reconstruct) if arguments.speeds else None,
        "stereo": measure_stereo(clips, codec.codec) if arguments.stereo else None,
        "decoding": None if codes_to_time is None else measure_decoding(codec.codec, codes_to_time),
    }


def _plain(part: Any) -> Any:
    """Dataclasses and tables of them as plain values."""
    if is_dataclass(part) and not isinstance(part, type):
        return asdict(part)
    return {key: _plain(value) for key, value in part.items()} if isinstance(part, dict) else part


def load(checkpoint: Path) -> "BareCodec":
    """The codec of a whole model, or one still in training (`codec.safetensors`). Errors: CheckpointError."""
    from melformer.evaluate.bare_codec import BareCodec  # imports torch: after the arguments have been checked

    if (checkpoint / "codec.safetensors").exists():
        return BareCodec.from_folder(checkpoint)
    from melformer.generate import Melformer

    return BareCodec(Melformer.from_pretrained(checkpoint).codec)


if __name__ == "__main__":
    sys.exit(main())
