"""The Gradio component that is the page: our own markup and script, fed by events of Gradio's queue."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
# In this order: each may use what stands before it.
SCRIPTS = (
    "dom", "store", "player", "drawing", "timeline", "transport", "media", "region", "record", "open", "grid",
    "lanes", "run", "takes", "compare", "share", "codes", "fields", "keys", "main",
)  # fmt: skip


def read_static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def page_html() -> str:
    """The markup, with its parts put in: the second tab, the icons and the mark."""
    page = read_static("page.html")
    for part, name in (("@codes@", "codes.html"), ("@icons@", "icons.html"), ("@mark@", "mark.svg")):
        page = page.replace(part, read_static(name))
    return page


def page_styles() -> str:
    """A style element for the head: Gradio rewrites what `css=` is given, and loses rules for the dark page."""
    return f"<style>{read_static('page.css')}{read_static('parts.css')}</style>"


def page_script() -> str:
    """All scripts as one function body; the worklet travels inside as text, so nothing else is fetched."""
    worklet = f"const WORKLET_SOURCE = {json.dumps(read_static('worklet.js'))};"
    return "\n".join([worklet, *(read_static(f"{name}.js") for name in SCRIPTS)])


def make_instrument(call: Callable[[dict[str, Any]], dict[str, Any]]) -> gr.HTML:
    """The page's component: its value is the last message of a stream; its events `play` and `choose` begin one.

    `call` answers what the page asks between streams. Not a subclass: for those, Gradio writes a stub file beside
    the source when it is imported.
    """

    def server_call(data: dict[str, Any]) -> dict[str, Any]:
        return call(data)

    server_call.__name__ = "call"
    return gr.HTML(
        html_template=page_html(),
        js_on_load=page_script(),
        apply_default_css=False,
        server_functions=[server_call],
        elem_id="melformer",
    )
