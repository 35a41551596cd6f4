"""The page as Gradio blocks, and how it is served."""

import asyncio
import atexit
import gc
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from melformer.audio.sniff import reason
from melformer.errors import ConfigError, MelformerError
from melformer.files import shipped_folder
from melformer.ui.actions import SURPRISE, Actions, sentence
from melformer.ui.api import API, add_api
from melformer.ui.api_calls import ApiCalls
from melformer.ui.component import STATIC, make_instrument, page_styles
from melformer.ui.host.limits import Limits
from melformer.ui.host.memory import return_freed_memory, use_one_heap
from melformer.ui.host.middleware import UPLOAD, Guard
from melformer.ui.host.outbox import Outbox
from melformer.ui.host.server import PageServer, bind
from melformer.ui.host.uploads import FORM_BYTES, Uploads
from melformer.ui.host.work import PageStopped
from melformer.ui.host.workspace import Workspace
from melformer.ui.page_head import PageHead
from melformer.ui.session.runs import Runs
from melformer.ui.session.sessions import Sessions
from melformer.ui.wire import Messages

logger = logging.getLogger(__name__)
EXAMPLES = shipped_folder("examples")
TITLE = "Melformer: drop in a loop, hear what comes next"
DESCRIPTION = "It plays the next bars with the sounds of your loop, locked to your tempo."
WARM_UP_BEATS = 8
MAX_EVENTS = 100
"""Streams that Gradio may have in hand before the scheduler has seen them."""
SWEEP_S = 5.0


def example_loops(folder: Path = EXAMPLES) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in (".wav", ".flac", ".ogg"))


@dataclass(frozen=True)
class Page:
    """The blocks, and what stands behind them; nothing is served yet."""

    blocks: gr.Blocks
    sessions: Sessions
    workspace: Workspace
    outbox: Outbox
    limits: Limits

    def stop(self) -> None:
        """End what runs, in order: files stay until `close`."""
        self.sessions.stop()
        self.outbox.close()

    def close(self) -> None:
        """Forget everybody and remove every file."""
        self.stop()
        self.sessions.close()
        self.workspace.close()


def build_page(model: Any, limits: Limits | None = None, examples: list[Path] | None = None) -> Page:
    """The page for a model. Errors: ConfigError when its folder cannot be made."""
    limits = Limits.from_environment() if limits is None else limits
    workspace = make_workspace(limits)
    sessions = Sessions(model, limits, workspace.sessions, check_room=workspace.check_room)
    actions = Actions(sessions, example_loops() if examples is None else examples, workspace.uploads)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        outbox = Outbox(blocks)
        instrument = make_instrument(actions.call)
        for event, stream in (("play", Runs.play), ("choose", Runs.choose)):
            getattr(instrument, event)(
                _streaming(sessions, outbox, stream),
                outputs=instrument,
                show_progress="hidden",
                trigger_mode="multiple",
                concurrency_limit=None,  # the scheduler decides who plays, and shows the others their place
                api_visibility="private",
            )
        add_api(sessions, actions, outbox)
    blocks.queue(max_size=MAX_EVENTS)
    return Page(blocks, sessions, workspace, outbox, limits)


def make_workspace(limits: Limits) -> Workspace:
    """The page's folder below Gradio's, which is the only one that Gradio serves files from. Errors: ConfigError."""
    root = Path(gr.utils.get_upload_folder())
    try:
        return Workspace(root, limits.disk_mb)
    except OSError as error:
        raise ConfigError(
            f"Can't write to {root} ({reason(error)}): set GRADIO_TEMP_DIR to a writable folder."
        ) from None


def _streaming(
    sessions: Sessions, outbox: Outbox, stream: Callable[[Runs, dict[str, Any]], Messages]
) -> Callable[..., Messages]:
    """An event's messages, each marked with the run the page gave it; a mistake becomes a message too."""

    def messages(event: gr.EventData, request: gr.Request) -> Messages:
        data = event._data if isinstance(event._data, dict) else {}
        run = data.get("run")
        try:
            made = stream(sessions.find(data.get("token")).runs, data)
            with closing(made), closing(outbox.bounded(made, request.session_hash or "")) as bounded:
                for message in bounded:
                    yield {"run": run, **message}
        except MelformerError as error:
            yield {"run": run, "kind": "error", "message": sentence(error)}
        except Exception:
            logger.exception("A stream failed")
            yield {"run": run, "kind": "error", "message": SURPRISE}

    return messages


def make_app(page: Page) -> FastAPI:
    """The page as an ASGI application: the guard, uploads of our own, then Gradio with everything local."""
    limits = page.limits
    upload_bytes = round(1e6 * limits.upload_mb)
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=_housekeeping(page),
        middleware=[
            Middleware(Guard, uploads=page.workspace.uploads, max_upload_bytes=upload_bytes + FORM_BYTES),
            Middleware(PageHead, title=TITLE, description=DESCRIPTION),
            Middleware(ApiCalls, endpoints=API),
        ],
    )  # fmt: skip
    app.add_route(UPLOAD, Uploads(page.workspace, upload_bytes).serve, methods=["POST"])
    page.blocks.state_session_capacity = limits.sessions
    page.blocks.has_launched = True  # or Gradio takes any file of the host for an uploaded one
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return gr.mount_gradio_app(
        app, page.blocks, "/",
        theme=theme,
        head=page_styles(),
        ssr_mode=False,
        mcp_server=False,  # not even where GRADIO_MCP_SERVER is set: docs/decisions/ tells why
        max_file_size=f"{limits.upload_mb}mb",
        footer_links=["api"],
        show_error=False,
        run_history=False,
        favicon_path=str(STATIC / "mark.svg"),
        enable_monitoring=False,
    )  # fmt: skip


def _housekeeping(page: Page) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Every few seconds, what nobody fetched or used goes: also on a page without visitors."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            page.outbox.sweep()
            await asyncio.to_thread(page.sessions.sweep)
            await asyncio.to_thread(page.workspace.sweep)
            if not page.sessions.scheduler.n_playing:  # a stream gives back what it used at its own end
                await asyncio.to_thread(return_freed_memory)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sweep())
        try:
            yield
        finally:
            sweeping.cancel()

    return lifespan


def serve(name: str | None = None) -> None:
    """Serve the page until interrupted, on 127.0.0.1:7860 or where GRADIO_SERVER_NAME and _PORT say.

    Errors: CheckpointError, ConfigError for a limit out of range, RequestError for a port that is taken.
    """
    import torch

    from melformer.generate import Melformer

    use_one_heap()
    limits = Limits.from_environment()
    bound = bind()
    torch.set_num_threads(1)  # a second thread gains little on matrices this small, and takes a core from the server
    model = Melformer.from_pretrained(name)
    page = build_page(model, limits)
    atexit.register(page.close)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as after Ctrl-C: without its visitors' files
    gc.freeze()  # what is there now stays: it need not be looked at whenever a stream ends
    warming = threading.Thread(target=warm_up, args=(page.sessions, example_loops()), daemon=True)
    warming.start()
    server = PageServer(make_app(page), bound, page.stop)
    print(f"* Running on local URL:  {server.url}", flush=True)
    with suppress(KeyboardInterrupt):
        server.run()
    page.stop()
    warming.join(10.0)  # a process that ends while torch computes in a thread is aborted
    page.close()


def warm_up(sessions: Sessions, examples: list[Path]) -> None:
    """Make a few beats before anybody asks: the first ones are slow, and the scheduler learns the machine's speed."""
    if not examples:
        return
    with suppress(PageStopped), sessions.visit() as session:
        session.load(examples[0])
        for _ in session.runs.play({"n_beats": WARM_UP_BEATS}):
            pass
