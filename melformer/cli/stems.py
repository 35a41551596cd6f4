"""`melformer stems`: a loop as drums, bass and other, which add up to it."""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

from melformer.cli.output import plain_stem, print_json, say
from melformer.cli.parser import add_command, add_json, add_loop, add_model, load_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "stems", stems, "separate a loop into drums, bass and other, which add up to it")
    add_loop(parser)
    parser.add_argument("-o", dest="out", metavar="DIR", required=True, help="folder for LOOP_drums.wav …")
    add_model(parser)
    add_json(parser)


def stems(args: Namespace) -> None:
    import numpy as np

    from melformer.audio.io import exact_encoding, read_waveform
    from melformer.audio.tempo import find_tempo
    from melformer.errors import RequestError
    from melformer.stems.export import write_stems

    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise RequestError(f"{args.out} is a file; give a folder.")
    loop = read_waveform(args.loop)
    model = load_model(args)
    bpm = find_tempo(loop, path=Path(args.loop), bpm=args.bpm, weights=model.tracker).bpm
    found = model.stems(loop, bpm)
    encoding = exact_encoding(loop.samples, ".wav")
    name = plain_stem(Path(args.loop).stem)
    written = write_stems(found, loop, args.out, f"{name}_{bpm:g}bpm", bpm, encoding)
    if written.encoding != encoding:
        say("a stem exceeds full scale, so all are written as 32-bit float; they still add up to the loop")
    energies = {stem: float(np.square(found[stem].samples, dtype=np.float64).sum()) for stem in found.present}
    total = sum(energies.values()) or 1.0
    size = loop.samples.size
    facts: dict[str, dict[str, Any]] = {
        stem: {
            "file": str(written.files[stem]),
            "level_db": round(10 * math.log10(energies[stem] / size + 1e-12), 2),
            "share": round(energies[stem] / total, 4),
        }
        for stem in found.present
    }
    if args.json:
        print_json({"bpm": bpm, "encoding": written.encoding, "stems": facts})
        return
    for fact in facts.values():
        print(f"{fact['file']}  {fact['level_db']:.1f} dB, {100 * fact['share']:.0f}% of the energy")
    missing = [stem for stem in ("drums", "bass", "other") if stem not in facts]
    if missing:
        say(f"no {' and no '.join(missing)} in this loop")
