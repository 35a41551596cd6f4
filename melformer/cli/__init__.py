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

from melformer.cli import (
    bench,
    continue_,
    corpus,
    evaluate,
    finetune,
    hub,
    reconstruct,
    serve,
    stems,
    tempo,
    tiaf,
    tokens,
    train,
)
from melformer.cli.parser import Parser
from melformer.errors import MelformerError

COMMANDS = (serve, continue_, stems, tempo, tiaf, tokens, reconstruct, corpus, train, finetune, evaluate, bench, hub)


def build_parser() -> Parser:
    """The whole command line; each command carries its function as `run`."""
    parser = Parser(prog="melformer", description="Continue a musician's loop, locked to the beat.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for name in ("stdout", "stderr"):  # closed by the caller (`>&-`): what is said goes nowhere
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no "×" shows a mark in its place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    asked = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        return _end(*_run(argv, asked))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, asked.receive)
    if before[signal.SIGINT] is signal.default_int_handler:  # else somebody chose to ignore it, as `nohup` does
        signal.signal(signal.SIGINT, asked.receive)
    try:
        return _end(*_run(argv, asked))
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python


class StopSignal:
    """Whether the command was asked to stop, and by which signal.

    The KeyboardInterrupt alone does not tell: what stands between may put an error of its own in its place, as Python
    3.11 does where it names the parts of a class (a RuntimeError), and numpy where it loads (an ImportError).
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def receive(self, number: int, frame: Any) -> NoReturn:
        self.number = number
        if number == signal.SIGTERM:  # a second one must not interrupt the tidying up
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt


def _run(argv: Sequence[str] | None, asked: StopSignal) -> tuple[int, str]:
    """Exit status, and what to say of it. It is said outside: by then the error is gone, and progress bars with it."""
    try:
        args = build_parser().parse_args(argv)  # prints the help, so its reader may go away too
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + (asked.number or signal.SIGINT), "stopped"
    except Exception as error:  # noqa: BLE001 - told in a line, or raised again
        return (128 + asked.number, "stopped") if asked.number is not None else _tell(error)
    return 0, ""


def _tell(error: Exception) -> tuple[int, str]:
    """A user's mistake, or what the machine lacks, in a line. Errors: `error` itself where the fault is ours."""
    if isinstance(error, MelformerError):
        return 2, str(error)
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as in `melformer … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1, ""
    if isinstance(error, OSError):  # a full disk, a folder that may not be written
        return 2, f"{error.filename or 'the output'}: {error.strerror or error}"
    if isinstance(error, MemoryError) or "allocate memory" in str(error):  # torch's own way to say so
        return 2, "there is not enough memory for this; give a shorter loop, or fewer takes at once"
    raise error


def _end(status: int, words: str) -> int:
    if words:
        print(f"melformer: {' '.join(words.split())}", file=sys.stderr)
    return status
