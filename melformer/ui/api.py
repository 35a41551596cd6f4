"""The API for scripts: `/continue` streams beats, `/continue_whole` gives a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from melformer.errors import MelformerError, RequestError
from melformer.ui.actions import Actions, sentence
from melformer.ui.exports import export_take
from melformer.ui.session import Session
from melformer.ui.sessions import Sessions


def add_api(sessions: Sessions, actions: Actions) -> None:
    """Register both endpoints in the blocks that are being built."""

    def continue_stream(
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = 1.0,
        variation: float = 0.5,
    ) -> Iterator[dict]:
        """Continue a loop: one object a beat, with PCM16 samples and codes as base64; the first tells the format."""
        session, wish = _begin(loop, n_beats, seed, bpm, temperature, variation)
        try:
            prompt = session.need_loop().prompt
            yield {
                "kind": "loop",
                "bpm": prompt.bpm,
                "n_beats": prompt.n_beats,
                "sample_rate": prompt.waveform.sample_rate,
                "n_channels": prompt.waveform.n_channels,
                "messages": list(prompt.messages),
            }
            for message in _sentences(session.play(wish)):
                if message["kind"] in ("waiting", "beat"):
                    yield message
        finally:
            sessions.forget(wish["token"])

    def continue_whole(
        loop: dict,
        n_beats: int = 16,
        seed: int = 0,
        bpm: float | None = None,
        temperature: float = 1.0,
        variation: float = 0.5,
        part: str = "whole",
        kind: str = "wav",
    ) -> dict:
        """Continue a loop and give the file: the loop and the new beats, or only the new; wav, wav24, flac or tiaf."""
        session, wish = _begin(loop, n_beats, seed, bpm, temperature, variation)
        try:
            for _ in _sentences(session.play(wish)):
                pass
            take = session.need_take(1)
            path = _export(session, take, kind, part)
            return gr.FileData(path=str(path), orig_name=path.name, mime_type=None).model_dump()
        finally:
            sessions.forget(wish["token"], keep_files=True)

    def _begin(loop: Any, n_beats: int, seed: int, bpm: float | None, temperature: float, variation: float) -> Any:
        if n_beats is None:
            raise gr.Error("The number of beats must be a whole number; only the page plays endlessly.")
        token = sessions.create(paced=False)
        session = sessions.find(token)
        try:
            path = actions.uploaded(loop.get("path") if isinstance(loop, dict) else loop)
            session.load(path)
            if bpm is not None:
                session.retime(bpm, 4)
        except MelformerError as error:
            sessions.forget(token)
            raise gr.Error(sentence(error)) from None
        wish = {"n_beats": n_beats, "seed": seed, "temperature": temperature, "variation": variation, "token": token}
        return session, wish

    options: dict[str, Any] = {"concurrency_limit": sessions.limits.queue, "concurrency_id": "model"}
    gr.api(continue_stream, api_name="continue", **options)
    gr.api(continue_whole, api_name="continue_whole", **options)


def _sentences(messages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    try:
        yield from messages
    except MelformerError as error:
        raise gr.Error(sentence(error)) from None


def _export(session: Session, take: Any, kind: str, part: str) -> Path:
    try:
        return export_take(take, session.folder, kind, part)
    except RequestError as error:
        raise gr.Error(sentence(error)) from None
