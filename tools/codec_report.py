"""Measure a checkpoint's codec on a folder of loops:

python tools/codec_report.py CHECKPOINT_DIR LOOPS_DIR [--references] [--speeds] [--stereo] …
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.audio.grid import model_tempo
from melformer.audio.resample import resample_span
from melformer.audio.waveform import Waveform
from melformer.errors import MelformerError
from melformer.evaluate import codec_scores, tables
from melformer.evaluate.codec_scores import Reconstruct
from melformer.evaluate.metrics.codebook_use import bits_per_second
from melformer.evaluate.metrics.comparison import compare, nanmean
from melformer.evaluate.report import plain
from melformer.evaluate.sets import EvaluationClip, folder_clips

SPEEDS = (0.8, 1.0, 1.25)

if TYPE_CHECKING:
    from melformer.codec.codec import Codec


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
    parts += [clips_table(found["systems"]["this codec"])] if arguments.clips else []
    parts += [tables.codes_table(found["codes"])] if found["codes"] else []
    if found["mel_at_speed"]:
        mels = list(found["mel_at_speed"].values())
        rows = [[str(speed), mel] for speed, mel in found["mel_at_speed"].items()]
        parts += [tables.table(["speed", "mel"], [*rows, ["spread %", 100.0 * (max(mels) - min(mels)) / mels[1]]])]
    if found["stereo"]:
        keys = [f.name for f in fields(next(iter(found["stereo"].values())))]
        parts += [tables.table(["stereo", *keys], [[k, *astuple(v)] for k, v in found["stereo"].items()])]
    return "\n\n".join(parts)


def _measure(arguments: argparse.Namespace, clips: list[EvaluationClip], codec: "Codec") -> dict[str, Any]:
    """All that was asked for; None for the rest."""
    from codec_extras import measure_stereo

    config = codec.config
    sizes = (config.latent_frames_per_beat, config.n_codebooks, config.codebook_size)

    def kbps(bpm: float) -> float:
        return bits_per_second(*sizes, model_tempo(bpm)[0]) / 1000.0

    systems = {"this codec": codec_scores.measure_codec(clips, codec.reconstruct, kbps, arguments.visqol)}
    if arguments.references:
        systems |= codec_scores.measure_references(clips, arguments.visqol)
    codes = None if arguments.no_codes else codec_scores.measure_codes(clips, codec.encode_loop, config.codebook_size)
    return {
        "systems": systems,
        "codes": codes,
        "mel_at_speed": measure_speeds(clips, codec.reconstruct) if arguments.speeds else None,
        "stereo": measure_stereo(clips, codec) if arguments.stereo else None,
    }


def measure_speeds(clips: Sequence[EvaluationClip], reconstruct: Reconstruct) -> dict[float, float]:
    """Mean mel distance of the same music played at 0.8, 1 and 1.25 times its speed, as a turntable would.

    Their beats hold the same samples, so a codec of beats should reconstruct them equally well.
    """
    distances = {}
    for speed in SPEEDS:
        played = [_played(clip, speed) for clip in clips]
        distances[speed] = nanmean(
            [compare(c.waveform, reconstruct(c.waveform, c.bpm).mono()).mel_distance for c in played]
        )
    return distances


def _played(clip: EvaluationClip, speed: float) -> EvaluationClip:
    """The clip's mono mix at another speed and, with it, tempo and pitch."""
    mono, n_samples = clip.waveform.mono(), round(clip.waveform.n_samples / speed)
    samples = resample_span(mono.samples, Fraction(speed), 0, n_samples)
    return EvaluationClip(clip.name, Waveform(samples, mono.sample_rate), clip.bpm * speed, clip.n_beats)


def clips_table(system: codec_scores.SystemScores) -> str:
    """One clip a line."""
    rows = [[c.name, c.bpm, *(getattr(c.scores, key) for key in tables.SHORT_NAMES)] for c in system.clips]
    return tables.table(["clip", "BPM", *tables.SHORT_NAMES.values()], rows)


def _plain(part: Any) -> Any:
    """Dataclasses and tables of them as plain values."""
    if is_dataclass(part) and not isinstance(part, type):
        return asdict(part)
    return {key: _plain(value) for key, value in part.items()} if isinstance(part, dict) else part


def load(checkpoint: Path) -> "Codec":
    """The codec of a whole model, or one still in training (`codec.safetensors`). Errors: CheckpointError."""
    from melformer.generate import Melformer  # imports torch: after the arguments have been checked
    from melformer.hub.codec_folder import read_codec_folder

    if (checkpoint / "codec.safetensors").exists():
        return read_codec_folder(checkpoint).codec
    return Melformer.from_pretrained(checkpoint).codec


if __name__ == "__main__":
    sys.exit(main())
