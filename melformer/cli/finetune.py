"""`melformer finetune`: a checkpoint of one's own from a folder of loops."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from melformer.cli.output import print_json, say
from melformer.cli.parser import add_command, add_json, add_model

_NUMBERS = {  # option → (kind, what it says)
    "steps": (int, "train for so many steps at most (1,000)"),
    "minutes": (float, "and for so many minutes at most (20)"),
    "lr": (float, "learning rate (1e-4)"),
    "engine_share": (float, "share of batches of composed material, against forgetting (0.5)"),
    "batch_size": (int, "passages in a batch (8)"),
    "validate_every": (int, "steps between validations (25)"),
    "patience": (int, "validations without a gain that end it (4)"),
    "seed": (int, "of everything that is drawn (0)"),
}


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "finetune", run, "teach a checkpoint how your own loops go on")
    parser.add_argument(
        "dir", metavar="LOOPS_DIR", help="a folder of loops (wav, flac, ogg, opus, mp3, aiff) and MIDI files"
    )
    parser.add_argument("-o", dest="out", metavar="DIR", required=True, help="where the new checkpoint goes")
    parser.add_argument("--csv", metavar="TABLE", help="the table of tempi that a first run wrote, corrected")
    parser.add_argument("--yes", action="store_true", help="take doubtful tempi as they were found")
    for name, (kind, help) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=help)
    add_model(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    from melformer.files import only_writer
    from melformer.train.finetune.finetune import FinetuneOptions, finetune

    given = {name: getattr(args, name) for name in _NUMBERS if getattr(args, name) is not None}
    table = Path(args.csv) if args.csv else None
    options, out = FinetuneOptions(**given), Path(args.out)
    with only_writer(out):
        report = finetune(Path(args.dir), out, args.model, options, table, args.yes, say)
    if args.json:
        print_json(report)
        return
    for kind, words in (("own", "your held-out loops"), ("engine", "held-out passages of the engine")):
        before, after = (report[f"nats_{kind}_{when}"] for when in ("before", "after"))
        print(f"nats a half beat on {words}: {before:.3f} before, {after:.3f} after ({report[f'{kind}_change']:+.1%})")
    print(f"{args.out}: hear before.wav and after.wav there; use it with --model {args.out}")
