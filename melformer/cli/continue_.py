"""`melformer continue`: a loop in, its continuation out; or a folder of loops."""

import dataclasses
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.cli.output import Progress, output_path, plain_stem, print_json, say_prompt, write_under_free_name
from melformer.cli.parser import add_command, add_json, add_loop, add_model, load_model
from melformer.errors import RequestError

if TYPE_CHECKING:
    from melformer.generate import Continuation, GenerationConfig, Melformer, Prompt


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "continue", continue_, "continue a loop, on the beat, in its own sound")
    add_loop(parser, "LOOP|DIR", "wav, flac, ogg, opus, mp3 or aiff; or a folder of them", needed=False)
    parser.add_argument("--stem", action="append", metavar="NAME=FILE", default=None,
                        help="instead of LOOP: your own stem, drums, bass or other; may be given for each")  # fmt: skip
    _add_number(parser, "--start", float, None, "SECONDS", "where the first beat is (else found)")
    _add_number(parser, "--beats-per-bar", int, None, "M", "metre (else found)")
    _add_number(parser, "--beats", int, 16, "N", "new beats")
    _add_number(parser, "--seed", int, 0, "S", "each seed gives another take")
    _add_number(parser, "--takes", int, 1, "K", "number of takes, with seeds S, S+1, …")
    _add_number(parser, "--temperature", float, None, "T", "1: the model's own distribution; 0: always the likeliest")
    _add_number(parser, "--variation", float, None, "V", "the share of half beats that leave the loop, 0 to 1")
    _add_number(parser, "--density", float, None, "D", "1: no more rests than the loop has; 0: as many as possible")
    for flag, words in (("--keep", "repeats as in the loop"), ("--mute", "is silent")):
        parser.add_argument(flag, action="append", choices=("drums", "bass", "other"), default=None, metavar="STEM",
                            help=f"a stem that {words}; may be given several times")  # fmt: skip
    _add_number(parser, "--top-k", int, None, "K", "draw from the K likeliest; 0: from all")
    _add_number(parser, "--top-p", float, None, "P", "draw from the likeliest that sum to P")
    _add_number(parser, "--min-p", float, None, "P", "leave out what is less likely than P times the likeliest")
    parser.add_argument("--redo", metavar="FROM:TO", help="then compose these new beats anew (counted from 0, "
                        "without TO), with the next seed")  # fmt: skip
    parser.add_argument("--redo-stem", action="append", choices=("drums", "bass", "other"), default=None,
                        metavar="STEM", help="with --redo: only this stem; may be given several times")  # fmt: skip
    parser.add_argument("--stems", metavar="DIR", help="also write the new part's stems there")
    parser.add_argument("--fold-tail", action="store_true", help="add what rings on after the last bar to the start")
    parser.add_argument("--close-loop", action="store_true", help="let the end lead back to the start")
    parser.add_argument("--only-new", action="store_true", help="leave the loop itself out of the file")
    parser.add_argument("-o", dest="out", metavar="OUT", help=".wav or .flac (else named after the loop and the seed, "
                        "and never over another file); for a folder of loops, a folder")  # fmt: skip
    add_model(parser)
    add_json(parser)


def _add_number(parser: ArgumentParser, flag: str, kind: type, default: float | None, metavar: str, help: str) -> None:
    note = "" if default is None else f" (default {default})"
    parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=help + note)


def continue_(args: Namespace) -> None:
    from melformer.cli.batch import continue_folder
    from melformer.generate.pipeline import MAX_TAKES

    if not 1 <= args.takes <= MAX_TAKES:
        raise RequestError(f"--takes is {args.takes}; it must be from 1 to {MAX_TAKES}.")
    config(args)
    redo_of(args)
    if args.loop is not None and args.stem is None and Path(args.loop).is_dir():
        continue_folder(args)
        return
    given = args.out and output_path(args.out, (".wav", ".flac"), *loop_files(args))
    model = load_model(args)
    prompt = model.prompt(
        loop_of(args), bpm=args.bpm, start_s=args.start, beats_per_bar=args.beats_per_bar, fold_tail=args.fold_tail
    )
    say_prompt(prompt)
    begun = time.perf_counter()
    takes = make_takes(model, prompt, args)
    seconds = time.perf_counter() - begun
    if given and args.takes == 1:
        files = [takes[0].save(given, only_new=args.only_new)]
    else:
        files = [write_take(take, _named(take, given, args), args) for take in takes]
    if args.stems is not None:
        files_of_stems = [file for take in takes for file in _write_stems(take, args.stems)]
        if not args.json:
            print("\n".join(map(str, files_of_stems)))
    if args.json:
        print_json(_report(takes, files, seconds))
    else:
        print("\n".join(map(str, files)))


def loop_of(args: Namespace) -> "str | dict[str, Path]":
    """The loop's file, or its stems'. Errors: RequestError."""
    if args.stem is None:
        if args.loop is None:
            raise RequestError("Give a loop, a folder of loops, or stems: --stem drums=FILE.")
        return str(args.loop)
    if args.loop is not None:
        raise RequestError("Give a loop or its stems (--stem), not both.")
    stems: dict[str, Path] = {}
    for word in args.stem:
        name, equals, file = word.partition("=")
        if not equals or not file or name in stems:
            raise RequestError(f"--stem is {word!r}; give NAME=FILE, each of drums, bass and other at most once.")
        stems[name] = Path(file)
    return stems


def loop_files(args: Namespace) -> list[Path]:
    """Every file that a loop is read from: none of them is written to."""
    loop = loop_of(args)
    return list(loop.values()) if isinstance(loop, dict) else [Path(loop)]


def config(args: Namespace) -> "GenerationConfig":
    """What the options say of how to draw. Errors: RequestError."""
    from melformer.generate import GenerationConfig

    names = [field.name for field in dataclasses.fields(GenerationConfig)]
    given = {name: getattr(args, name, None) for name in names}
    return GenerationConfig(**{name: value for name, value in given.items() if value is not None})


def redo_of(args: Namespace) -> tuple[int, int] | None:
    """The beats that are composed anew. Errors: RequestError."""
    if args.redo is None:
        if args.redo_stem is not None:
            raise RequestError("--redo-stem goes with --redo.")
        return None
    first, colon, end = args.redo.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end) <= args.beats):
        raise RequestError(f"--redo is {args.redo!r}; give FROM:TO, beats from 0 to {args.beats}, such as 4:8.")
    return int(first), int(end)


def make_takes(model: "Melformer", prompt: "Prompt", args: Namespace) -> "list[Continuation]":
    """The takes that the options ask for."""
    progress, asked, again = Progress(args.beats), config(args), redo_of(args)
    seeds = [args.seed + take for take in range(args.takes)]
    made = model.generate(
        prompt, args.beats, seeds=seeds, config=asked,
        close_loop=args.close_loop, only_new=args.close_loop and args.only_new, progress=progress.show,
    )  # fmt: skip
    if again is None:
        return made
    return [model.redo(take, again, args.redo_stem, take.seed + 1) for take in made]


def _write_stems(take: "Continuation", folder: str) -> list[Path]:
    from melformer.stems.export import write_stems

    name = f"{plain_stem(take.prompt.name)}_{take.prompt.bpm:g}bpm_seed{take.seed}"
    return list(write_stems(take.stems, take.new, folder, name, take.prompt.bpm).files.values())


def write_take(take: "Continuation", path: Path, args: Namespace) -> Path:
    """Write a take to `path`, or where that is taken beside it; the file."""
    return write_under_free_name(path, lambda free: take.save(free, only_new=args.only_new, replace=False))


def _named(take: "Continuation", given: Path | None, args: Namespace) -> Path:
    """The name of a file that the user has not named in full."""
    prompt = take.prompt
    n_beats = take.n_beats + (0 if args.only_new else prompt.n_beats)
    path = given or Path(f"{plain_stem(prompt.name)}_{prompt.bpm:g}bpm_{n_beats}beats.wav")
    return path.with_name(f"{path.stem}_seed{take.seed}{path.suffix}")


def _report(takes: "Sequence[Continuation]", files: list[Path], seconds: float) -> dict[str, Any]:
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
    facts: dict[str, Any] = {"file": str(file), "seed": take.seed, "sources": take.facts()}
    if take.ending is not None:
        facts["seam_surprise"] = round(take.ending.surprise, 3)
    return facts
