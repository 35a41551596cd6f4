"""`melformer continue`: a loop in, its continuation out."""

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.cli.output import Progress, exact_encoding, output_path, plain_stem, print_json, say_prompt
from melformer.cli.parser import add_command, add_json, add_loop, add_model
from melformer.errors import RequestError

if TYPE_CHECKING:
    from melformer.generate import Continuation, GenerationConfig, Melformer, Prompt


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "continue", continue_, "continue a loop, on the beat, in its own sound")
    add_loop(parser)
    _add_number(parser, "--start", float, None, "SECONDS", "where the first beat is (else found)")
    _add_number(parser, "--beats-per-bar", int, 4, "M", "metre")
    _add_number(parser, "--beats", int, 16, "N", "new beats")
    _add_number(parser, "--seed", int, 0, "S", "a seed is a take")
    _add_number(parser, "--takes", int, 1, "K", "seeds S, S+1, … together")
    _add_number(parser, "--temperature", float, None, "T", "0: always the likeliest")
    _add_number(parser, "--variation", float, None, "V", "0: stays close; 1: wanders")
    _add_number(parser, "--top-k", int, None, "K", "draw from the K likeliest; 0: from all")
    _add_number(parser, "--top-p", float, None, "P", "draw from the likeliest that sum to P")
    _add_number(parser, "--min-p", float, None, "P", "leave out what is less likely than P times the likeliest")
    _add_number(parser, "--own-sound", float, None, "W", "1: the loop's own sound; 0: decoded")
    parser.add_argument("--close-loop", action="store_true", help="end so that the file can be played round")
    parser.add_argument("--only-new", action="store_true", help="leave the loop itself out of the file")
    parser.add_argument("-o", dest="out", metavar="OUT", help=".wav or .flac (else named after the loop)")
    add_model(parser)
    add_json(parser)


def _add_number(parser: ArgumentParser, flag: str, kind: type, default: float | None, metavar: str, help: str) -> None:
    note = "" if default is None else f" (default {default})"
    parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=help + note)


def continue_(args: Namespace) -> None:
    from melformer.generate.pipeline import MAX_TAKES, GenerationConfig, Melformer

    if not 1 <= args.takes <= MAX_TAKES:
        raise RequestError(f"--takes is {args.takes}; it must be from 1 to {MAX_TAKES}.")
    given = args.out and output_path(args.out, (".wav", ".flac"), args.loop)
    names = ("temperature", "top_k", "top_p", "min_p", "variation", "own_sound")
    wishes = {name: getattr(args, name) for name in names}
    settings = GenerationConfig(**{name: request for name, request in wishes.items() if request is not None})
    model = Melformer.from_pretrained(args.model)
    prompt = model.prompt(args.loop, bpm=args.bpm, start_s=args.start, beats_per_bar=args.beats_per_bar)
    say_prompt(prompt)
    start = time.perf_counter()
    takes = _generate(model, prompt, args, settings)
    seconds = time.perf_counter() - start
    files = [_write(take, given, args) for take in takes]
    if args.json:
        print_json(_report(takes, files, seconds))
    else:
        print("\n".join(map(str, files)))


def _generate(
    model: "Melformer", prompt: "Prompt", args: Namespace, settings: "GenerationConfig"
) -> "list[Continuation]":
    wishes: dict[str, Any] = {
        "settings": settings, "close_loop": args.close_loop, "only_new": args.close_loop and args.only_new,
    }  # fmt: skip
    if args.takes > 1:
        seeds = [args.seed + take for take in range(args.takes)]
        return model.takes(prompt, args.beats, seeds=seeds, **wishes)
    progress = Progress(args.beats)
    return [model.continue_loop(prompt, args.beats, seed=args.seed, progress=progress.show, **wishes)]


def _write(take: "Continuation", given: Path | None, args: Namespace) -> Path:
    from melformer.audio.io import write_waveform

    prompt = take.prompt
    waveform = take.new if args.only_new else take.waveform
    n_beats = take.n_beats + (0 if args.only_new else prompt.n_beats)
    path = given or Path(f"{plain_stem(prompt.name)}_{prompt.bpm:g}bpm_{n_beats}beats.wav")
    if args.takes > 1:
        path = path.with_name(f"{path.stem}_seed{take.seed}{path.suffix}")
    encoding = exact_encoding(prompt.waveform.samples, path.suffix.lower())
    write_waveform(path, waveform, bpm=prompt.bpm, encoding=encoding)
    return path


def _report(takes: "list[Continuation]", files: list[Path], seconds: float) -> dict[str, Any]:
    prompt, first = takes[0].prompt, takes[0]
    return {
        "bpm": prompt.bpm, "bpm_source": prompt.tempo.source, "bpm_confidence": prompt.tempo.confidence,
        "start_s": prompt.tempo.start_s, "prompt_beats": prompt.n_beats, "new_beats": first.n_beats,
        "sample_rate": prompt.waveform.sample_rate, "n_channels": prompt.waveform.n_channels,
        "prompt_samples": prompt.waveform.n_samples, "new_samples": first.new.n_samples,
        "seconds": seconds, "x_real_time": len(takes) * first.new.duration_s / seconds,
        "messages": list(prompt.messages),
        "takes": [_facts(take, file) for file, take in zip(files, takes, strict=True)],
    }  # fmt: skip


def _facts(take: "Continuation", file: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": str(file), "seed": take.seed}
    if take.ending is not None:
        facts["seam_surprise"] = round(take.ending.surprise, 3)
    return facts
