"""`melformer evaluate`: how good a model is on a folder of loops."""

import shlex
import sys
from argparse import Namespace
from typing import Any

from melformer.cli.output import say
from melformer.cli.parser import add_command, add_json, add_model, load_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "evaluate", evaluate, "measure quality on a folder of loops, beside baselines")
    parser.add_argument("dir", metavar="DIR_OF_LOOPS")
    add_model(parser)
    parser.add_argument("--no-model", action="store_true", help="only the baselines, or a candidate")
    parser.add_argument("--candidate", metavar="DIR", help="another system's continuations of the same loops")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="of codec, continuation, transformer")
    parser.add_argument("--no-references", action="store_true", help="leave the baselines out")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="only these rows of the continuation part")
    parser.add_argument("--variations", nargs="+", type=float, default=[], metavar="V", help="also at these variations")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N loops")
    parser.add_argument("--beats", type=int, metavar="N", help="continue whole loops by N beats")
    parser.add_argument("--takes", type=int, default=1, metavar="K", help="continue each loop K times, from seed S on")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--quick", action="store_true", help="leave out the continuations' distances to the truth")
    parser.add_argument("--plots", metavar="DIR", help="also write pictures")
    parser.add_argument("--output", "-o", metavar="FILE", help="also write the figures, machine and commit as JSON")
    add_json(parser)


def evaluate(args: Namespace) -> None:
    from melformer.evaluate.report import PARTS, evaluate

    model = None if args.no_model else load_model(args)
    report = evaluate(
        args.dir, model, candidate=args.candidate, parts=tuple(args.parts or PARTS), references=not args.no_references,
        systems=args.systems, variations=args.variations, limit=args.limit, n_new=args.beats, n_takes=args.takes,
        seed=args.seed, quick=args.quick, progress=say,
    )  # fmt: skip
    if args.plots:
        from melformer.evaluate.plots import write_plots

        write_plots(args.dir, args.plots, model, limit=args.limit)
    if args.output:
        from melformer.evaluate.results import report_results, write_results

        write_results(args.output, shlex.join(["melformer", *sys.argv[1:]]), report_results(report))
    print(report.to_json() if args.json else report.to_text())
