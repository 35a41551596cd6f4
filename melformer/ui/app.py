"""The page as Gradio blocks, and how it is served."""

import atexit
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from melformer.errors import MelformerError, RequestError
from melformer.files import shipped_folder
from melformer.ui.actions import SURPRISE, Actions, sentence
from melformer.ui.api import API, add_api
from melformer.ui.api_calls import ApiCalls
from melformer.ui.component import STATIC, make_instrument, page_styles
from melformer.ui.limits import Limits
from melformer.ui.memory import use_one_heap
from melformer.ui.middleware import Guard
from melformer.ui.page_head import PageHead
from melformer.ui.session import Session
from melformer.ui.sessions import Sessions

logger = logging.getLogger(__name__)
EXAMPLES = shipped_folder("examples")
TITLE = "Melformer: drop in a loop, hear what comes next"
DESCRIPTION = "It plays the next bars with the sounds of your loop, locked to your tempo."
PORT = 7860
WARM_UP_BEATS = 8


def example_loops(folder: Path = EXAMPLES) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in (".wav", ".flac", ".ogg"))


def build_page(
    model: Any, limits: Limits | None = None, examples: list[Path] | None = None
) -> tuple[gr.Blocks, Sessions]:
    """The page for a model, and its sessions; nothing is served yet."""
    limits = Limits.from_environment() if limits is None else limits
    uploads = Path(gr.utils.get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    sessions = Sessions(model, limits, Path(tempfile.mkdtemp(prefix="melformer-", dir=uploads)))
    actions = Actions(sessions, example_loops() if examples is None else examples, uploads)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as page:
        instrument = make_instrument(actions.call)
        for event, stream in (("play", Session.play), ("choose", Session.choose)):
            getattr(instrument, event)(
                _streaming(sessions, stream),
                outputs=instrument,
                show_progress="hidden",
                trigger_mode="multiple",
                concurrency_limit=limits.queue,  # the desk decides who plays and shows the others their place
                concurrency_id="model",
                api_visibility="private",
            )
        add_api(sessions, actions)
    page.queue(max_size=limits.queue)
    return page, sessions


def _streaming(
    sessions: Sessions, stream: Callable[[Session, dict[str, Any]], Iterator[dict[str, Any]]]
) -> Callable[[gr.EventData], Iterator[dict[str, Any]]]:
    """An event's messages, each marked with the run the page gave it; a mistake becomes a message too."""

    def messages(event: gr.EventData) -> Iterator[dict[str, Any]]:
        data = dict(event._data or {})
        run = data.get("run")
        try:
            for message in stream(sessions.find(data.get("token")), data):
                yield {"run": run, **message}
        except MelformerError as error:
            yield {"run": run, "kind": "error", "message": sentence(error)}
        except Exception:
            logger.exception("A stream failed")
            yield {"run": run, "kind": "error", "message": SURPRISE}

    return messages


def launch_options(limits: Limits) -> dict[str, Any]:
    """Everything local: system fonts, our own styles, no analytics, no server-side rendering."""
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return {
        "theme": theme,
        "head": page_styles(),
        "ssr_mode": False,
        "mcp_server": False,  # not even where GRADIO_MCP_SERVER is set: docs/decisions/ tells why
        "max_file_size": f"{limits.upload_mb}mb",
        "state_session_capacity": limits.sessions,
        "footer_links": ["api"],
        "show_error": False,
        "run_history": False,
        "favicon_path": str(STATIC / "mark.svg"),
        "app_kwargs": {
            "middleware": [
                Middleware(Guard),
                Middleware(PageHead, title=TITLE, description=DESCRIPTION),
                Middleware(ApiCalls, endpoints=API),
            ]
        },
    }


def serve(name: str | None = None) -> None:
    """Serve the page until interrupted, on 127.0.0.1:7860 or where GRADIO_SERVER_NAME and _PORT say.

    Errors: CheckpointError, ConfigError for a limit out of range, RequestError for a port that is taken.
    """
    import torch

    from melformer.generate import Melformer

    use_one_heap()
    limits = Limits.from_environment()
    torch.set_num_threads(1)  # a second thread gains little on matrices this small, and takes a core from the server
    model = Melformer.from_pretrained(name)
    page, sessions = build_page(model, limits)
    atexit.register(sessions.close)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as after Ctrl-C: without its visitors' files
    warming = threading.Thread(target=warm_up, args=(sessions, example_loops()), daemon=True)
    warming.start()
    options = launch_options(limits)
    if "GRADIO_SERVER_PORT" not in os.environ and "SPACE_ID" not in os.environ:
        options["server_port"] = PORT
    try:
        page.launch(**options)
    except OSError:
        raise RequestError(f"Port {PORT} is taken; set GRADIO_SERVER_PORT to another one.") from None
    except KeyboardInterrupt:  # before the page was up; afterwards Gradio takes it as the wish to end
        pass
    finally:
        sessions.close()
        warming.join(10.0)  # a process that ends while torch computes in a thread is aborted


def warm_up(sessions: Sessions, examples: list[Path]) -> None:
    """Make a few beats before anybody asks: the first ones are slow, and the desk learns the machine's speed."""
    if not examples:
        return
    token = sessions.create(paced=False)
    session = sessions.find(token)
    with suppress(OSError):  # the page was stopped meanwhile, and the session's folder is gone
        session.load(examples[0])
        for _ in session.play({"n_beats": WARM_UP_BEATS}):
            pass
    sessions.forget(token)
