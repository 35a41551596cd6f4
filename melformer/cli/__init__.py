"""The `melformer` command: arguments in, calls down.

Exit status 0; 2 with one line on stderr for what a user did; 130 after Ctrl-C, 143 after a SIGTERM: both leave nothing
half written. What a program may want to read goes to stdout, everything else to stderr. Heavy imports stand inside
the commands: `--help` is instant.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

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
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no "×" shows a mark in its place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is not threading.main_thread():
        return _run(argv)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        return _run(argv)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(argv: Sequence[str] | None) -> int:
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
    except Terminated:
        return _fail("stopped", status=128 + signal.SIGTERM)
    except KeyboardInterrupt:
        return _fail("stopped", status=130)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):  # torch's own way to say so
            raise
        return _fail("there is not enough memory for this; give a shorter loop, or fewer takes at once")
    return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM: whoever tidies up after Ctrl-C tidies up after this too."""


def _terminated(number: int, frame: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the tidying up
    raise Terminated


def _fail(message: str, status: int = 2) -> int:
    print(f"melformer: {' '.join(message.split())}", file=sys.stderr)
    return status
