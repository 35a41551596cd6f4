"""`melformer tokens`: a loop's codes, shown, written, drawn."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from melformer.cli.output import output_path, print_json, say_prompt
from melformer.cli.parser import add_command, add_json, add_loop, add_model, load_model
from melformer.files import atomic_path, write_arrays


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "tokens", tokens, "show a loop's codes: (beats, frames, codebooks)")
    add_loop(parser)
    parser.add_argument("-o", dest="out", metavar="TOKENS.npz", help="write them, with BPM and metre")
    parser.add_argument("--plot", metavar="TOKENS.png", help="draw them")
    add_model(parser)
    add_json(parser)


def tokens(args: Namespace) -> None:
    out = args.out and output_path(args.out, (".npz",), args.loop)
    plot = args.plot and output_path(args.plot, (".png", ".svg", ".pdf"), args.loop)
    prompt = load_model(args).prompt(args.loop, bpm=args.bpm)
    say_prompt(prompt)
    if out:
        _save_codes(prompt, out)
    if plot:
        plot_codes(prompt.codes, plot)
    n_beats, n_frames, n_codebooks = prompt.codes.shape
    facts = {"bpm": prompt.bpm, "n_beats": prompt.n_beats, "n_model_beats": n_beats,
             "frames_per_beat": n_frames, "n_codebooks": n_codebooks}  # fmt: skip
    if args.json:
        print_json({**facts, "codes": prompt.codes.tolist()})
    else:
        print("\n".join(f"{name:20}{value:g}" for name, value in facts.items()))


def _save_codes(prompt: Any, path: Any) -> None:
    facts = {"codes": prompt.codes, "bpm": prompt.bpm, "model_beats_per_beat": prompt.model_beats_per_beat}
    write_arrays(path, facts, compressed=True)


def plot_codes(codes: Any, path: Path) -> None:
    """Draw codes (n_beats, frames, n_codebooks): time to the right, codebooks upwards, a line per beat."""
    import numpy as np
    from matplotlib.figure import Figure  # no pyplot: its global state would look for a display

    codes = np.asarray(codes)
    n_beats, _, n_codebooks = codes.shape
    figure = Figure(figsize=(min(40.0, 2 + n_beats), 3.5), layout="constrained")
    axes = figure.add_subplot()
    # Neighbouring indices mean nothing, so colours are shuffled: equal codes look equal, near ones do not.
    colour = np.random.default_rng(0).permutation(int(codes.max()) + 1)[codes]
    axes.imshow(colour.reshape(-1, n_codebooks).T, aspect="auto", origin="lower", cmap="twilight",
                interpolation="nearest", extent=(0, n_beats, 0.5, n_codebooks + 0.5))  # fmt: skip
    for beat in range(1, n_beats):
        axes.axvline(beat, color="white", linewidth=1.5 if beat % 4 == 0 else 0.5)
    axes.set(xlabel="beat", ylabel="codebook")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
