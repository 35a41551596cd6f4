"""`melformer reconstruct`: a loop encoded and decoded, and what was lost."""

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from melformer.cli.output import output_path, print_json, say_prompt
from melformer.cli.parser import add_command, add_json, add_loop, add_model, load_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "reconstruct", reconstruct, "encode a loop, decode it, say what was lost")
    add_loop(parser)
    parser.add_argument("-o", dest="out", metavar="OUT", required=True, help=".wav or .flac")
    add_model(parser)
    add_json(parser)


def reconstruct(args: Namespace) -> None:
    from melformer.audio.io import exact_encoding, write_waveform
    from melformer.codec.stereo import is_mono, side_bits_per_second
    from melformer.evaluate.metrics.codebook_use import bits_per_second
    from melformer.evaluate.metrics.comparison import compare
    from melformer.render.reconstruct import COLOUR_BITS

    path = output_path(args.out, (".wav", ".flac"), args.loop)
    model = load_model(args)
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
