"""The commands that take a loop apart: `tokens`, `reconstruct`."""

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from melformer.cli.output import exact_encoding, output_path, print_json, say_prompt
from melformer.cli.parser import add_command, add_json, add_loop, add_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "tokens", tokens, "show a loop's codes: (beats, frames, codebooks)")
    add_loop(parser)
    parser.add_argument("-o", dest="out", metavar="TOKENS.npz", help="write them, with BPM and metre")
    parser.add_argument("--plot", metavar="TOKENS.png", help="draw them")
    add_model(parser)
    add_json(parser)
    parser = add_command(commands, "reconstruct", reconstruct, "encode a loop, decode it, say what was lost")
    add_loop(parser)
    parser.add_argument("-o", dest="out", metavar="OUT", required=True, help=".wav or .flac")
    add_model(parser)
    add_json(parser)


def tokens(args: Namespace) -> None:
    from melformer.generate import Melformer

    out = args.out and output_path(args.out, (".npz",), args.loop)
    plot = args.plot and output_path(args.plot, (".png", ".svg", ".pdf"), args.loop)
    prompt = Melformer.from_pretrained(args.model).prompt(args.loop, bpm=args.bpm)
    say_prompt(prompt)
    if out:
        _save_codes(prompt, out)
    if plot:
        from melformer.cli.plot import plot_codes

        plot_codes(prompt.codes, plot)
    n_beats, n_frames, n_codebooks = prompt.codes.shape
    facts = {"bpm": prompt.bpm, "n_beats": prompt.n_beats, "n_model_beats": n_beats,
             "frames_per_beat": n_frames, "n_codebooks": n_codebooks}  # fmt: skip
    if args.json:
        print_json({**facts, "codes": prompt.codes.tolist()})
    else:
        print("\n".join(f"{name:20}{value:g}" for name, value in facts.items()))


def _save_codes(prompt: Any, path: Any) -> None:
    import numpy as np

    from melformer.files import atomic_path

    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary, codes=np.asarray(prompt.codes), bpm=prompt.bpm,
            model_beats_per_beat=prompt.model_beats_per_beat,
        )  # fmt: skip


def reconstruct(args: Namespace) -> None:
    from melformer.audio.wav import write_waveform
    from melformer.codec.stereo import is_mono, side_bits_per_second
    from melformer.evaluate.codes import bits_per_second
    from melformer.evaluate.compare import compare
    from melformer.generate import Melformer
    from melformer.generate.rebuild import COLOUR_BITS

    path = output_path(args.out, (".wav", ".flac"), args.loop)
    model = Melformer.from_pretrained(args.model)
    prompt = model.prompt(args.loop, bpm=args.bpm)
    say_prompt(prompt)
    decoded = model.reconstruct(prompt.waveform, prompt.bpm)
    encoding = exact_encoding(prompt.waveform.samples, path.suffix.lower())
    write_waveform(path, decoded, bpm=prompt.bpm, encoding=encoding)
    config = model.config.codec
    sizes = (config.latent_frames_per_beat, config.n_codebooks, config.codebook_size)
    side = 0.0 if is_mono(prompt.waveform.samples) else side_bits_per_second(prompt.model_bpm)
    facts = {"kbps": bits_per_second(*sizes, prompt.model_bpm) / 1000.0, "side_kbps": side / 1000.0,
             "colour_bits": COLOUR_BITS}  # fmt: skip
    facts |= asdict(compare(prompt.waveform, decoded))
    if args.json:
        print_json({"file": str(path), "bpm": prompt.bpm, "n_beats": prompt.n_beats, **facts})
    else:
        print("\n".join(f"{name:28}{value:.3f}" for name, value in facts.items()))
