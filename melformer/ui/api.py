"""The API for scripts: `/continue` streams beats, `/continue_whole` gives a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from melformer.errors import MelformerError, RequestError
from melformer.generate import GenerationConfig
from melformer.ui.actions import Actions, sentence
from melformer.ui.exports import export_take
from melformer.ui.session import Session
from melformer.ui.sessions import Sessions


def add_api(sessions: Sessions, actions: Actions) -> None:
    """Register both endpoints in the blocks that are being built."""
    endpoints = Endpoints(sessions, actions)
    options: dict[str, Any] = {"concurrency_limit": sessions.limits.queue, "concurrency_id": "model"}
    gr.api(endpoints.continue_stream, api_name="continue", **options)
    gr.api(endpoints.continue_whole, api_name="continue_whole", **options)


class Endpoints:
    """Each request has a session of its own, forgotten when it ends; beats are made as fast as they can be."""

    def __init__(self, sessions: Sessions, actions: Actions) -> None:
        self.sessions = sessions
        self.actions = actions

    def continue_stream(
        self,
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = GenerationConfig.temperature,
        variation: float = 0.5,
        close_loop: bool = False,
    ) -> Iterator[dict]:
        """Continue a loop: one object a beat, samples and codes as base64; the first tells the format."""
        with self._session(keep_files=False) as session:
            self._load(session, loop, bpm)
            yield _format(session)
            request = _request(n_beats, seed, temperature, variation, close_loop)
            for message in session.play(request):
                if message["kind"] in ("waiting", "beat"):
                    yield message

    def continue_whole(
        self,
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = GenerationConfig.temperature,
        variation: float = 0.5,
        part: str = "whole",
        kind: str = "wav",
        close_loop: bool = False,
    ) -> dict:
        """Continue a loop and give the file, with the loop or only the new beats: wav, wav24, flac, tiaf."""
        with self._session(keep_files=True) as session:
            self._load(session, loop, bpm)
            request = _request(n_beats, seed, temperature, variation, close_loop)
            for _ in session.play(request):
                pass
            path = export_take(session.need_take(1), session.folder, kind, part)
            return gr.FileData(path=str(path), orig_name=path.name).model_dump()

    @contextmanager
    def _session(self, keep_files: bool) -> Iterator[Session]:
        """A session for one request; mistakes leave it as Gradio's errors, whose sentences reach the client."""
        token = self.sessions.create(paced=False)
        try:
            yield self.sessions.find(token)
        except MelformerError as error:
            raise gr.Error(sentence(error), print_exception=False) from None  # a mistake of theirs, not a fault of ours
        finally:
            self.sessions.forget(token, keep_files)

    def _load(self, session: Session, loop: Any, bpm: float | None) -> None:
        session.load(self.actions.uploaded(loop.get("path") if isinstance(loop, dict) else loop))
        if bpm is not None:
            session.retime(bpm, 4)


def _request(n_beats: Any, seed: Any, temperature: Any, variation: Any, close_loop: Any) -> dict[str, Any]:
    if n_beats is None:
        raise RequestError("The number of beats must be given; only the page plays endlessly.")
    return {
        "n_beats": n_beats, "seed": seed, "temperature": temperature, "variation": variation, "close_loop": close_loop,
    }  # fmt: skip


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
