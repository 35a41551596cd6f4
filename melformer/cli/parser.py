"""What the commands' argument lists have in common."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from melformer.generate import Melformer


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose options cannot be abbreviated."""

    complete: Callable[["Parser"], None] | None = None
    """Adds arguments once this very command is chosen: for those that are costly to know."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation that works today can become ambiguous with the next option.
        super().__init__(**{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        complete, self.complete = self.complete, None
        if complete is not None:
            complete(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"melformer: {message} (see `{self.prog} --help`)\n")


def add_command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], help: str) -> Parser:
    """A sub-command that calls `run` with its arguments."""
    parser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Any, name: str, help: str) -> Any:
    """A command that only holds other commands, as `melformer tiaf` does."""
    group = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    return group.add_subparsers(dest=f"{name}_command", metavar="COMMAND", required=True)


def add_loop(
    parser: argparse.ArgumentParser, metavar: str = "LOOP", help: str = "wav, flac, ogg, opus, mp3 or aiff",
    needed: bool = True,
) -> None:  # fmt: skip
    """The arguments of every command that takes a loop; one that is not `needed` is None where it is left out."""
    parser.add_argument("loop", metavar=metavar, help=help, nargs=None if needed else "?")
    parser.add_argument("--bpm", type=float, metavar="B", help="beats per minute, 40 to 240 "
                        "(else from the file's name, its tags, or by listening)")  # fmt: skip


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="DIR|REPO", help='a folder, or "user/repo[@revision]" on the Hub '
                        "(else $MELFORMER_MODEL, or the embedded checkpoint)")  # fmt: skip


def load_model(args: argparse.Namespace) -> "Melformer":
    """The model that `--model` names. Torch gets one thread: on matrices this small a second one gains little, and
    beside a busy neighbour it waits most of the time."""
    import torch

    from melformer.generate import Melformer

    torch.set_num_threads(1)
    return Melformer.from_pretrained(args.model)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
