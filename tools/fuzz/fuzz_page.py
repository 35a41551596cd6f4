"""The page's inputs: every call, wish and steering of a session, the API's two endpoints, and the host's limits."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
from fuzz_damage import Reader, damage_value, hostile_value, json_values, like
from hypothesis import strategies as st
from page_double import Model, loop_samples

from melformer.audio.io import write_waveform
from melformer.generate import GenerationConfig
from melformer.ui import actions as page_actions
from melformer.ui.actions import ACTIONS, Actions
from melformer.ui.api import Endpoints
from melformer.ui.host.limits import PREFIX, Limits
from melformer.ui.host.outbox import Outbox
from melformer.ui.session.sessions import Sessions

LIMITS = Limits(beats=4, endless_beats=16, shared_beats=4, batch=2, kept_takes=2, sessions=4, prompt_beats=8)
WISH = {"n_beats": 2, "seed": 7, "keep": 1, "lead_in_s": 0.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
        "min_p": 0.03, "variation": 0.5, "density": 1.0, "n_takes": 2}  # fmt: skip
READER = SimpleNamespace(session_hash="reader")
ASKED = {"API": {"n_beats": 2, "seed": 0, "bpm": 120.0, "temperature": 1.0, "variation": 0.5, "part": "whole",
                 "kind": "wav"}}  # fmt: skip


class Surprise(logging.Handler):
    """Gives the exceptions that the page only wrote to its log."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.error = record.exc_info[1] if record.exc_info else RuntimeError(record.getMessage())

    def throw(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


class Page:
    """A page without a browser, with one visitor who has a loop and a take."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "uploads" / "click_240bpm.wav"
        write_waveform(self.path, loop_samples(4, 240.0, 8_000))
        self.sessions = Sessions(Model(compute_s=0.0), LIMITS, folder / "sessions")
        self.actions = Actions(self.sessions, [self.path], folder / "uploads")
        self.endpoints = Endpoints(self.sessions, self.actions, Outbox(gr.Blocks()))
        self.surprise = Surprise()
        page_actions.logger.addHandler(self.surprise)
        page_actions.logger.propagate = False

    def visit(self) -> str:
        """A fresh visitor's token."""
        token = self.sessions.create(paced=False)
        session = self.sessions.find(token)
        session.load(self.path)
        for _ in session.runs.play({"n_beats": 2}):
            pass
        return token

    def requests(self) -> list[dict[str, Any]]:
        """A good request of every kind."""
        fields = {"take": 1, "first": 0, "last": 2, "bpm": 120.0, "beats_per_bar": 4, "key": "k", "n_codebooks": 2,
                  "kind": "wav", "part": "whole", "order": [{"from": 0, "reversed": True}] * 4}  # fmt: skip
        calls = [{"do": do, "path": str(self.path), "name": self.path.name, **fields} for do in (*ACTIONS, "hello")]
        return [*calls, {"do": "play", **WISH}, {"do": "choose", **WISH}, {"do": "API", **ASKED["API"]}]


def _hostile_request(page: Page, rng: np.random.Generator) -> Any:
    good = page.requests()
    return hostile_value(rng) if rng.random() < 0.02 else damage_value(good[int(rng.integers(len(good)))], rng)


def _use_request(page: Page, case: Any) -> None:
    token = page.visit()
    try:
        do = case.get("do") if isinstance(case, dict) else None
        if do in ("play", "choose"):
            stream: Iterator[Any] = getattr(page.sessions.find(token), do)(case)
            for _ in islice(stream, 40):
                pass
        elif do == "API":
            _use_api(page, case)
        else:
            request = {"token": token, **case} if isinstance(case, dict) else case
            answer = page.actions.call(request)
            assert answer.keys() & {"ok", "error"}
        page.surprise.throw()
    finally:
        page.sessions.forget(token)


def _use_api(page: Page, case: dict[str, Any]) -> None:
    """What reaches the endpoints after Gradio has read the JSON."""
    request = {key: case[key] for key in ASKED["API"] if key in case}
    loop = case.get("loop", {"path": str(page.path)})
    try:
        page.endpoints.continue_whole(READER, loop, **request)
        streamed = {key: value for key, value in request.items() if key not in ("part", "kind")}
        for _ in islice(page.endpoints.continue_stream(READER, loop, **streamed), 40):
            pass
    except gr.Error as error:
        if not str(error.message).strip():
            raise AssertionError("an error without a sentence") from error


def _request_strategy(page: Page) -> st.SearchStrategy:
    return st.one_of([like(good).map(lambda request, do=good["do"]: {**request, "do": do}) for good in page.requests()])


def _hostile_environment(prepared: Any, rng: np.random.Generator) -> dict[str, Any]:
    names = list(Limits.__dataclass_fields__)
    return {names[int(rng.integers(len(names)))]: hostile_value(rng) for _ in range(2)}


def _use_environment(prepared: Any, case: dict[str, Any]) -> None:
    """Variables of the host, which are text, and the knobs of a program, which are anything."""
    Limits.from_environment({PREFIX + name.upper(): str(value) for name, value in case.items()})
    for value in case.values():
        GenerationConfig(**dict.fromkeys(("temperature", "top_k", "variation"), value))


READERS = [
    Reader("page", 0.14, Page, _hostile_request, _use_request, _request_strategy),
    Reader("settings", 0.03, lambda folder: None, _hostile_environment, _use_environment,
           lambda _: st.dictionaries(st.sampled_from(list(Limits.__dataclass_fields__)), json_values(), max_size=4)),
]  # fmt: skip
