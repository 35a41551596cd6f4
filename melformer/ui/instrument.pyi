"""The Gradio component that is the page: our own markup and script, fed by events of Gradio's queue."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
# In this order: each may use what stands before it.
SCRIPTS = ("dom", "store", "player", "timeline", "open", "run", "takes", "codes", "main")


def read_static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def page_html() -> str:
    return read_static("page.html").replace("@codes@", read_static("codes.html"))


def page_script() -> str:
    """All scripts as one function body; the worklet travels inside as text, so nothing else is fetched."""
    worklet = f"const WORKLET_SOURCE = {json.dumps(read_static('worklet.js'))};"
    return "\n".join([worklet, *(read_static(f"{name}.js") for name in SCRIPTS)])

from gradio.events import Dependency

class Instrument(gr.HTML):
    """Shows the page; its value is the last message of a stream, and its events `play` and `choose` begin one."""

    def __init__(self, call: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        def server_call(data: dict[str, Any]) -> dict[str, Any]:
            return call(data)

        server_call.__name__ = "call"
        super().__init__(
            value=None,
            html_template=page_html(),
            js_on_load=page_script(),
            apply_default_css=False,
            server_functions=[server_call],
            elem_id="melformer",
        )

    def postprocess(self, value: Any) -> Any:
        """Messages are dicts, sent as they are."""
        return value

    def preprocess(self, payload: Any) -> Any:
        return payload

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component