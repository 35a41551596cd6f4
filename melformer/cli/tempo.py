"""`melformer tempo`: what is found in loops, before anything is done with them."""

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from melformer.cli.output import print_json
from melformer.cli.parser import add_command, add_json
from melformer.errors import MelformerError, RequestError


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "tempo", tempo, "find BPM, beats and bars of loops")
    parser.add_argument("files", metavar="FILE", nargs="+", help="wav, flac, ogg, opus, mp3 or aiff")
    parser.add_argument("--beats-per-bar", type=int, metavar="M", help="metre, where you know it")
    add_json(parser)


def tempo(args: Namespace) -> None:
    found, failed = [], []
    for file in args.files:
        try:
            facts = describe(file, args.beats_per_bar)
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


def describe(file: str, beats_per_bar: int | None = None) -> dict[str, Any]:
    """What is found in one file. Errors: AudioError, TempoError."""
    from melformer.audio.io import read_waveform
    from melformer.audio.tempo import find_tempo, fit_loop

    waveform = read_waveform(file)
    tempo = find_tempo(waveform, path=file, beats_per_bar=beats_per_bar)
    fit = fit_loop(waveform, tempo)
    messages = [*tempo.messages, *([fit.message] if fit.message else [])]
    facts = {"file": file, **asdict(tempo), "is_one_shot": tempo.is_one_shot, "n_beats": fit.n_beats}
    tail_s = fit.tail.duration_s if fit.tail else 0.0
    return facts | {"duration_s": waveform.duration_s, "tail_s": tail_s, "messages": messages}


def _line(facts: dict[str, Any]) -> str:
    """Tempo, beats and bars of one file; of a single hit, the tempo at which it is played."""
    words = f"{facts['file']}: {facts['bpm']:g} BPM ({facts['source']}, {facts['confidence']:.0%}), first beat at "
    words += f"{facts['start_s']:.3f} s ({facts['start_confidence']:.0%}), {facts['n_beats']} beats"
    if facts["is_one_shot"]:
        return words
    return (
        f"{words}, {facts['metre']} ({facts['metre_confidence']:.0%}), bar begins with beat {facts['downbeat'] + 1} "
        f"({facts['downbeat_confidence']:.0%})"
    )
