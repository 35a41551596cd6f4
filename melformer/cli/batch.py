"""`melformer continue LOOPS_DIR -o OUT_DIR`: every loop of a folder, one after the other."""

import json
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.cli.output import print_json, say
from melformer.errors import MelformerError, RequestError
from melformer.files import only_writer, whole_lines

if TYPE_CHECKING:
    from melformer.generate import Melformer

RECORD = "continued.jsonl"
"""In OUT_DIR: the options first, then a line for every loop that is done, with its size in bytes and its files."""
_NOT_OPTIONS = {"loop", "out", "json", "command", "run"}


def continue_folder(args: Namespace) -> None:
    """Continue each loop below a folder; one that cannot be continued does not stop the others.

    What an earlier run of the same options has done is left as it is. Errors: RequestError before any work for
    folders and options that do not fit, and at the end where a loop failed.
    """
    from melformer.cli.parser import load_model

    if args.stems is not None:
        raise RequestError("--stems goes with one loop; leave it out for a folder of them.")
    source, out = Path(args.loop), output_folder(args)
    loops = _loops(source, out)
    with only_writer(out):
        record = Record(out, {name: value for name, value in vars(args).items() if name not in _NOT_OPTIONS})
        waiting = [loop for loop in loops if not record.is_done(loop, source)]
        if len(waiting) < len(loops):
            say(f"{len(loops) - len(waiting)} of {len(loops)} loops are done already")
        model = load_model(args) if waiting else None
        failed = {}
        for number, loop in enumerate(waiting, len(loops) - len(waiting) + 1):
            name, begun = loop.relative_to(source).as_posix(), time.perf_counter()
            try:
                assert model is not None
                files, words = _continue_one(model, loop, out / name, args)
            except MelformerError as error:
                failed[name] = words = " ".join(str(error).split())
            else:
                record.add(loop, source, files)
                words += f", {time.perf_counter() - begun:.1f} s"
                if not args.json:
                    print("\n".join(map(str, files)), flush=True)
            say(f"[{number}/{len(loops)}] {name}: {words}")
        if args.json:
            print_json({"done": record.entries, "failed": [{"loop": n, "error": e} for n, e in failed.items()]})
    if failed:
        say(*(f"failed: {name}: {words}" for name, words in failed.items()))
        raise RequestError(f"{len(failed)} of {len(loops)} loops could not be continued; the others are done.")


def output_folder(args: Namespace) -> Path:
    """Where a folder's results go. Errors: RequestError."""
    if not args.out:
        raise RequestError(f"{args.loop} is a folder: name another one for the results with -o.")
    out = Path(args.out)
    if not out.is_dir() and (out.exists() or out.suffix.lower() in (".wav", ".flac")):
        raise RequestError(f"{out} is a file's name; the results of a folder go into a folder.")
    if out.resolve() == Path(args.loop).resolve():
        raise RequestError(f"{out} is the folder of the loops itself; give another one.")
    return out


def _loops(source: Path, out: Path) -> list[Path]:
    from melformer.audio.io import audio_files

    made = out.resolve()
    loops = [path for path in audio_files(source, deep=True) if made not in path.resolve().parents]
    if not loops:
        raise RequestError(f"{source} holds no loops: give a folder with wav, flac, ogg, opus, mp3 or aiff files.")
    return loops


def _continue_one(model: "Melformer", loop: Path, target: Path, args: Namespace) -> tuple[list[Path], str]:
    """The files of one loop, named after `target`, and what was understood of the loop."""
    from melformer.cli.continue_ import make_takes, write_take

    prompt = model.prompt(
        loop, bpm=args.bpm, start_s=args.start, beats_per_bar=args.beats_per_bar, fold_tail=args.fold_tail
    )
    takes = make_takes(model, prompt, args)
    files = [write_take(take, target.with_name(f"{target.stem}_seed{take.seed}.wav"), args) for take in takes]
    return files, f"{prompt.bpm:g} BPM ({prompt.tempo.source}), {prompt.n_beats} beats"


class Record:
    """What has been done in a folder; `entries` are its lines, one for each loop."""

    def __init__(self, out: Path, options: dict[str, Any]) -> None:
        """Errors: RequestError for a folder whose record is of other options, or damaged."""
        self.out, self.path = out, out / RECORD
        self.entries: list[dict[str, Any]] = []
        self.done: dict[tuple[str, int], list[str]] = {}
        if not self.path.exists():
            self._append({"options": options})
            return
        try:
            first, *self.entries = [json.loads(line) for line in whole_lines(self.path)]
            told = dict(first["options"])
            self.done = {(entry["loop"], entry["bytes"]): list(entry["files"]) for entry in self.entries}
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{self.path} is damaged ({error}); give another folder, or remove it.") from None
        differing = sorted(name for name in options if told.get(name) != options[name])
        if differing:
            name = differing[0]
            raise RequestError(
                f"{out} holds results of other options ({name} was {told.get(name)!r}, now {options[name]!r}): "
                "give the same options to go on, or another folder."
            )

    def is_done(self, loop: Path, source: Path) -> bool:
        """Whether all files of a loop, as it is now, are there."""
        files = self.done.get((loop.relative_to(source).as_posix(), loop.stat().st_size), [])
        return bool(files) and all((self.out / file).exists() for file in files)

    def add(self, loop: Path, source: Path, files: list[Path]) -> None:
        """Note that a loop is done."""
        names = [file.relative_to(self.out).as_posix() for file in files]
        entry = {"loop": loop.relative_to(source).as_posix(), "bytes": loop.stat().st_size, "files": names}
        self.entries.append(entry)
        self._append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
