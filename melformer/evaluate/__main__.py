"""The report as a command: `python -m melformer.evaluate DIR_OF_LOOPS` (see `--help`)."""

import argparse
import sys
from pathlib import Path

from melformer.errors import MelformerError
from melformer.evaluate.report import PARTS, evaluate


def main(argv: list[str] | None = None) -> int:
    """Print the report; 2 for a user's mistake."""
    arguments = _parser().parse_args(argv)
    try:
        model = None
        if not arguments.no_model:
            from melformer.generate.model import Melformer  # imports torch

            model = Melformer.from_pretrained(arguments.model)
        report = evaluate(
            arguments.folder,
            model,
            candidate=arguments.candidate,
            parts=tuple(arguments.parts),
            references=not arguments.no_references,
            limit=arguments.limit,
            n_new=arguments.beats,
            seed=arguments.seed,
            progress=lambda text: print(text, file=sys.stderr),
        )
        if arguments.plots:
            from melformer.evaluate.plots import write_plots

            write_plots(arguments.folder, arguments.plots, model, limit=arguments.limit)
    except MelformerError as error:
        print(f"melformer.evaluate: {error}", file=sys.stderr)
        return 2
    print(report.to_json() if arguments.json else report.to_text())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m melformer.evaluate", description="Measure quality on a folder of loops."
    )
    parser.add_argument("folder", type=Path, metavar="DIR_OF_LOOPS")
    parser.add_argument("--model", metavar="DIR|REPO", help="a checkpoint (else the embedded one)")
    parser.add_argument("--no-model", action="store_true", help="references and candidate alone")
    parser.add_argument("--candidate", type=Path, metavar="DIR", help="another system's continuations")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--no-references", action="store_true")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N loops")
    parser.add_argument("--beats", type=int, metavar="N", help="continue whole loops by N beats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plots", type=Path, metavar="DIR", help="also write pictures")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
