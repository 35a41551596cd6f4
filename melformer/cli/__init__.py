"""The `melformer` command: arguments in, calls down.

Exit status 0; 2 with one line on stderr for what a user did; 130 after Ctrl-C. What a program may want to
read goes to stdout, everything else to stderr. Heavy imports stand inside the commands: `--help` is instant.
"""

import os
import sys
from collections.abc import Sequence

from melformer.cli import continuing, corpus, finetuning, hub, loops, measuring, tiaf, training
from melformer.cli.parser import Parser
from melformer.errors import MelformerError

COMMANDS = (continuing, tiaf, loops, corpus, training, finetuning, measuring, hub)


def build_parser() -> Parser:
    """The whole command line; each command carries its function as `run`."""
    parser = Parser(prog="melformer", description="Continue a musician's loop, locked to the beat.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        args = build_parser().parse_args(argv)  # prints the help, so its reader may go away too
        args.run(args)
        sys.stdout.flush()
    except MelformerError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader of our output has gone, as in `melformer … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _fail("stopped", status=130)
    return 0


def _fail(message: str, status: int = 2) -> int:
    print(f"melformer: {' '.join(message.split())}", file=sys.stderr)
    return status
