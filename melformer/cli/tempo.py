"""`melformer tempo`: what is found in loops, before anything is done with them."""

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from melformer.cli.output import print_json
from melformer.cli.parser import add_command, add_json
from melformer.errors import MelformerError, RequestError


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "tempo", tempo, "find BPM, first beat, downbeat and metre of loops")
    parser.add_argument("files", metavar="FILE", nargs="+", help="wav, flac, ogg, opus, mp3 or aiff")
    parser.add_argument("--bpm", type=float, metavar="B", help="the BPM, if it is known")
    parser.add_argument("--beats-per-bar", type=int, metavar="M", help="the beats of a bar, if they are known")
    add_json(parser)


def tempo(args: Namespace) -> None:
    found, failed = [], []
    for file in args.files:
        try:
            facts = describe(file, args.bpm, args.beats_per_bar)
        except MelformerError as error:
            failed.append(f"{file}: {error}")
            found.append({"file": file, "error": str(error)})
            continue
        found.append(facts)
        if not args.json:
            print(_line(facts), *(f"    {message}" for message in facts["messages"]), sep="\n", flush=True)
    if args.json:
        print_json({"loops": found})
    if failed:
        raise RequestError(f"{len(failed)} of {len(args.files)} files have no tempo: {'; '.join(failed)}")


def describe(file: str, bpm: float | None = None, beats_per_bar: int | None = None) -> dict[str, Any]:
    """What is found in one file. Errors: AudioError, TempoError, RequestError."""
    from melformer.audio.grid import BeatGrid
    from melformer.audio.io import read_waveform
    from melformer.audio.tempo import find_tempo

    waveform = read_waveform(file)
    tempo = find_tempo(waveform, path=file, bpm=bpm, beats_per_bar=beats_per_bar)
    facts = asdict(tempo) | {"file": file, "duration_s": waveform.duration_s, "is_one_shot": tempo.is_one_shot}
    stop_s = waveform.duration_s if tempo.stop_s is None else tempo.stop_s
    facts["stop_s"] = stop_s
    facts["n_beats"] = BeatGrid(tempo.bpm, waveform.sample_rate).beats_in(
        round((stop_s - tempo.start_s) * waveform.sample_rate)
    )
    facts["messages"] = list(tempo.messages)
    return facts


def _line(facts: dict[str, Any]) -> str:
    return (
        f"{facts['file']}: {facts['bpm']:g} BPM ({facts['source']}, {facts['confidence']:.0%}), first beat at "
        f"{facts['start_s']:.3f} s ({facts['start_confidence']:.0%}), "
        f"{facts['metre']} ({facts['metre_confidence']:.0%}), "
        f"bar from beat {facts['downbeat'] + 1} ({facts['downbeat_confidence']:.0%}), {facts['n_beats']:.2f} beats"
    )
