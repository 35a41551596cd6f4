"""`melformer serve`: the page, wherever the package is installed."""

from argparse import Namespace
from typing import Any

from melformer.cli.parser import add_command, add_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "serve", run, "serve the page on http://127.0.0.1:7860")
    parser.epilog = "GRADIO_SERVER_NAME and GRADIO_SERVER_PORT set another address."
    add_model(parser)


def run(args: Namespace) -> None:
    from melformer.ui.app import serve

    serve(args.model)
