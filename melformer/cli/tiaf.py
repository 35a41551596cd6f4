"""`melformer tiaf`: audio to the beat grid and back."""

from argparse import Namespace
from typing import Any

from melformer.cli.output import output_path, print_json, say
from melformer.cli.parser import add_command, add_group, add_json, add_loop


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "tiaf", "convert between audio and .tiaf, which counts samples per beat")
    parser = add_command(group, "pack", pack, "turn audio into a .tiaf")
    add_loop(parser)
    parser.add_argument("out", metavar="OUT.tiaf")
    parser.add_argument("--double-time", action="store_true",
                        help="two rows to the beat, so that a slow loop keeps its treble")  # fmt: skip
    parser = add_command(group, "unpack", unpack, "turn a .tiaf into audio")
    parser.add_argument("tiaf", metavar="IN.tiaf")
    parser.add_argument("out", metavar="OUT.wav", help=".wav or .flac")
    parser.add_argument(
        "--bpm", type=float, metavar="B", help="play at another tempo: faster and higher, or slower and lower"
    )
    parser = add_command(group, "info", info, "say what a .tiaf holds")
    parser.add_argument("tiaf", metavar="IN.tiaf")
    add_json(parser)


def pack(args: Namespace) -> None:
    from melformer.audio.io import read_waveform
    from melformer.audio.tempo import find_tempo
    from melformer.audio.tiaf import Tiaf, write_tiaf

    path = output_path(args.out, (".tiaf",), args.loop)
    waveform = read_waveform(args.loop)
    tempo = find_tempo(waveform, path=args.loop, bpm=args.bpm)
    tiaf = Tiaf.from_waveform(waveform, tempo.bpm, args.double_time)
    write_tiaf(path, tiaf)
    say(f"{tempo.bpm:g} BPM ({tempo.source}), {tiaf.n_beats} beats")
    if tiaf.message:
        say(tiaf.message)


def unpack(args: Namespace) -> None:
    from melformer.audio.io import write_waveform
    from melformer.audio.tiaf import read_tiaf

    path = output_path(args.out, (".wav", ".flac"), args.tiaf)
    tiaf = read_tiaf(args.tiaf)
    bpm = tiaf.bpm if args.bpm is None else args.bpm
    write_waveform(path, tiaf.to_waveform(bpm), bpm=bpm, encoding="pcm24")


def info(args: Namespace) -> None:
    from melformer.audio.tiaf import read_tiaf

    tiaf = read_tiaf(args.tiaf)
    facts = {"bpm": tiaf.bpm, "n_beats": tiaf.n_beats, "n_channels": tiaf.n_channels,
             "sample_rate": tiaf.sample_rate, "n_samples": tiaf.n_samples,
             "duration_s": tiaf.n_samples / tiaf.sample_rate,
             "grid_beats_per_beat": tiaf.grid_beats_per_beat}  # fmt: skip
    if args.json:
        print_json(facts)
    else:
        print("\n".join(f"{name:20}{value:g}" for name, value in facts.items()))
