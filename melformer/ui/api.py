"""The API for scripts: `/continue` streams beats; `/continue_whole`, `/takes` and `/stems` give files."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from melformer.errors import MelformerError, RequestError
from melformer.generate import GenerationConfig
from melformer.ui.actions import Actions, sentence
from melformer.ui.host.outbox import Outbox
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.session.stem_jobs import PcmStems
from melformer.ui.takes.exports import export_all, export_stems, export_take, loop_file_name
from melformer.ui.takes.loops import check_beats_per_bar
from melformer.ui.wire import Messages

SETTINGS = ("n_beats", "seed", "temperature", "variation", "close_loop", "top_k", "top_p", "density", "draws")
STEMS_WAIT_S = 120.0


def add_api(sessions: Sessions, actions: Actions, outbox: Outbox) -> None:
    """Register the endpoints in the blocks that are being built."""
    endpoints = Endpoints(sessions, actions, outbox)
    for name, function in API.items():
        gr.api(getattr(endpoints, function.__name__), api_name=name, concurrency_limit=None)


class Endpoints:
    """Each request has a session of its own, forgotten when it ends; beats are made as fast as they can be."""

    def __init__(self, sessions: Sessions, actions: Actions, outbox: Outbox) -> None:
        self.sessions = sessions
        self.actions = actions
        self.outbox = outbox

    def continue_stream(
        self,
        request: gr.Request,
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = GenerationConfig.temperature,
        variation: float = 0.5,
        close_loop: bool = False,
        top_k: int = 0,
        top_p: float = 1.0,
        density: float = GenerationConfig.density,
        keep: list[str] | None = None,
        mute: list[str] | None = None,
        beats_per_bar: int | None = None,
        draws: dict[str, int] | None = None,
    ) -> Iterator[dict]:
        """Continue a loop: the format, one object a beat with samples and codes as base64, and an end."""
        settings = _request(locals())
        with self._session(keep_files=False) as session:
            self._load(session, request, loop, bpm, beats_per_bar)
            yield _format(session)
            made = session.runs.play(settings)
            with closing(made), closing(self.outbox.bounded(made, request.session_hash or "")) as bounded:
                for message in bounded:
                    if message["kind"] in ("waiting", "beat"):
                        yield message
            # Gradio sends the last message twice; this one may be.
            yield {"kind": "end", "n_beats": session.need_take(1).n_beats, "seed": session.need_take(1).seed}

    def continue_whole(
        self,
        request: gr.Request,
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = GenerationConfig.temperature,
        variation: float = 0.5,
        part: str = "whole",
        kind: str = "wav",
        close_loop: bool = False,
        top_k: int = 0,
        top_p: float = 1.0,
        density: float = GenerationConfig.density,
        keep: list[str] | None = None,
        mute: list[str] | None = None,
        beats_per_bar: int | None = None,
        draws: dict[str, int] | None = None,
    ) -> dict:
        """Continue a loop and give the file, with the loop or only the new part: wav, wav24, flac, tiaf."""
        settings = _request(locals())
        with self._session(keep_files=True) as session:
            self._load(session, request, loop, bpm, beats_per_bar)
            self._make(session.runs.play(settings), request)
            with self.actions.work.turn():
                return _file(export_take(session.need_take(1), session.folder, kind, part))

    def takes(
        self,
        request: gr.Request,
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = GenerationConfig.temperature,
        variation: float = 0.5,
        n_takes: int = 3,
        part: str = "whole",
        close_loop: bool = False,
        top_k: int = 0,
        top_p: float = 1.0,
        density: float = GenerationConfig.density,
        keep: list[str] | None = None,
        mute: list[str] | None = None,
        beats_per_bar: int | None = None,
        draws: dict[str, int] | None = None,
    ) -> dict:
        """Several takes with seeds that follow each other: a ZIP of WAV files, and `takes.json` about them."""
        settings = {**_request(locals()), "n_takes": n_takes}
        with self._session(keep_files=True) as session:
            self._load(session, request, loop, bpm, beats_per_bar)
            self._make(session.runs.choose(settings), request)
            with self.actions.work.turn():
                return _file(export_all(list(session.takes.values()), session.folder, part))

    def stems(self, request: gr.Request, loop: dict, bpm: float | None = None) -> dict:
        """Drums, bass and other of a loop: a ZIP of WAV files that add up to it."""
        with self._session(keep_files=True) as session:
            self._load(session, request, loop, bpm, None)
            stems = session.stems_of(None, wait_s=STEMS_WAIT_S)
            if not isinstance(stems, PcmStems):
                raise RequestError("Stems aren't available on this server, or took too long. Try again later.")
            prompt_loop = session.need_loop()
            with self.actions.work.turn():
                return _file(export_stems(stems, loop_file_name(prompt_loop), session.folder, prompt_loop))

    @contextmanager
    def _session(self, keep_files: bool) -> Iterator[Session]:
        """A session for one request; mistakes leave it as Gradio's errors, whose sentences reach the client."""
        try:
            with self.sessions.visit(keep_files) as session:
                yield session
        except MelformerError as error:
            raise gr.Error(sentence(error), print_exception=False) from None  # a mistake of theirs, not a fault of ours

    def _make(self, made: Messages, request: gr.Request) -> None:
        """To its end, as long as somebody waits for it."""
        with closing(made):
            for _ in self.outbox.heard(made, request.session_hash or ""):
                pass

    def _load(self, session: Session, request: gr.Request, loop: Any, bpm: float | None, beats_per_bar: Any) -> None:
        asked_s = time.monotonic()
        with self.actions.work.turn():
            self.outbox.check_heard(request.session_hash or "", asked_s)
            path = self.actions.uploaded(loop.get("path") if isinstance(loop, dict) else loop)
            session.load(path, check_beats_per_bar(beats_per_bar), bpm)


API: dict[str, Callable[..., Any]] = {
    "continue": Endpoints.continue_stream,
    "continue_whole": Endpoints.continue_whole,
    "takes": Endpoints.takes,
    "stems": Endpoints.stems,
}


def _request(values: dict[str, Any]) -> dict[str, Any]:
    if values["n_beats"] is None:
        raise gr.Error("n_beats is required: only the page can stream endlessly.", print_exception=False)
    return {name: values[name] for name in SETTINGS} | {"kept": values["keep"], "muted": values["mute"]}


def _file(path: Path) -> dict[str, Any]:
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def _format(session: Session) -> dict[str, Any]:
    loop = session.need_loop()
    prompt = loop.prompt
    return {
        "kind": "loop",
        "bpm": prompt.bpm,
        "n_beats": prompt.n_beats,
        "sample_rate": prompt.waveform.sample_rate,
        "n_channels": prompt.waveform.n_channels,
        "messages": list(loop.messages),
    }
