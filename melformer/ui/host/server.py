"""The page's server: uvicorn with bounds on connections, on headers that do not come, and on readers that stall."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from melformer.errors import ConfigError

PORT = 7860
MAX_CONNECTIONS = 512
HEADERS_S = 20.0
"""So long a connection may take for the head of its next request."""
STALL_S = 30.0
"""So long a reader may take nothing of what is ready for it."""
GRACE_S = 2.0
"""When the page ends, readers are given so long to take what is ready for them."""
CALLS_S = 20
"""And calls, to come to their end."""


class BoundedProtocol(H11Protocol):
    """One connection, closed when it holds more than its share of patience.

    uvicorn limits how long a connection may rest between two requests, and nothing else: half a head is waited for
    without end, and an answer that nobody reads is kept.
    """

    headers_s, stall_s, max_connections = HEADERS_S, STALL_S, MAX_CONNECTIONS
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = _restart(self._stall_timer, self.loop, self.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stall_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_timer)
        _cancel(self._stall_timer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_timer = _restart(self._head_timer, self.loop, self.headers_s, self._give_up)

    def _give_up(self) -> None:
        """Unless a request is being answered: that one has time limits of its own."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _restart(timer: asyncio.TimerHandle | None, loop: Any, seconds: float, todo: Any) -> asyncio.TimerHandle:
    _cancel(timer)
    return loop.call_later(seconds, todo)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class _Server(uvicorn.Server):
    """Ends in order: what runs is asked to end, then every connection is closed, so that each request ends by itself.

    uvicorn alone waits for readers who may never come, and then cancels their requests wherever they are.
    """

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._stop)
        loop = asyncio.get_running_loop()
        closing = loop.call_later(GRACE_S, self._close_connections)
        await super().shutdown(sockets)
        closing.cancel()

    def _close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class PageServer:
    """Serves an ASGI application on a bound socket: in this thread (`run`), or in one of its own (`start`, `stop`)."""

    def __init__(self, app: Any, bound: socket.socket, stop: Callable[[], None] = lambda: None) -> None:
        """`stop` is called when it ends, before anything is closed: it asks what runs to end."""
        config = uvicorn.Config(
            app, http=BoundedProtocol, ws="none", log_level="warning", timeout_graceful_shutdown=CALLS_S,
            lifespan="on", server_header=False,
        )  # fmt: skip
        self._server = _Server(config, stop)
        self._socket = bound
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def is_ready(self) -> bool:
        return bool(self._server.started)

    def run(self) -> None:
        """Serve until a signal ends it; that signal is then raised again."""
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(CALLS_S)
        self._socket.close()


def bind(environment: Mapping[str, str] | None = None) -> socket.socket:
    """A listening socket where GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say, or at 127.0.0.1:7860; in a Space, which
    has its own way in, on all addresses. Errors: ConfigError for a name or a port that cannot be had.
    """
    environment = os.environ if environment is None else environment
    name = environment.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in environment else "127.0.0.1")
    text = environment.get("GRADIO_SERVER_PORT") or str(PORT)
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise ConfigError(f"GRADIO_SERVER_PORT is {text!r}, but it must be a number from 0 (any free port) to 65535.")
    try:
        found = socket.getaddrinfo(name.strip("[]"), int(text), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"GRADIO_SERVER_NAME is {name!r}, which isn't an address of this machine ({error}): "
            "use 127.0.0.1 for this machine only, 0.0.0.0 for every network."
        ) from None
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise ConfigError(_why_not_bound(name, text, error)) from None
    return bound


def _why_not_bound(name: str, port: str, error: OSError) -> str:
    words = (error.strerror or str(error)).lower()
    if isinstance(error, PermissionError):
        return f"Port {port} needs administrator rights ({words}): set GRADIO_SERVER_PORT to 1024 or higher."
    if "in use" in words:
        return f"Port {port} is taken; set GRADIO_SERVER_PORT to another one."
    return f"The page cannot be served at {name}, port {port} ({words}): see GRADIO_SERVER_NAME."
