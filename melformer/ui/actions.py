"""What the page can ask for between two streams: one entry point, and each mistake a sentence."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from melformer.errors import MelformerError, RequestError
from melformer.generate import GenerationConfig
from melformer.ui.explain import codebook_usage, decode_rewritten, decode_with, spectrum
from melformer.ui.exports import export_all, export_take
from melformer.ui.loops import check_beats_per_bar
from melformer.ui.requests import real_number, whole_number
from melformer.ui.session import Session
from melformer.ui.sessions import Sessions

logger = logging.getLogger(__name__)
SURPRISE = "Something went wrong here and was written to the log. Your loop and takes are kept: please try again."
MAX_BEATS_AT_ONCE = 64


class SessionExpired(RequestError):
    """The session was forgotten: the page has to begin a new one."""


class Actions:
    """Calls of the page, by name. Files come only from `uploads`, the loops offered from `examples`."""

    def __init__(self, sessions: Sessions, examples: list[Path], uploads: Path) -> None:
        self.sessions = sessions
        self.examples = {path.name: path for path in examples}
        self.uploads = uploads
        self.writing = threading.Lock()  # a long take needs much memory while it is written: one at a time

    def call(self, data: dict[str, Any]) -> dict[str, Any]:
        """`{"ok": answer}` or `{"error": sentence}`; never an exception, since the page could not show it."""
        try:
            if not isinstance(data, dict):
                raise RequestError("A request must be an object.")
            if data.get("do") == "hello":
                return {"ok": self.hello(data)}
            session = self._find(data)
            todo = ACTIONS.get(str(data.get("do")))
            if todo is None:
                raise RequestError(f"No such request: {str(data.get('do'))[:40]!r}. Reload the page.")
            return {"ok": todo(self, session, data)}
        except SessionExpired as error:
            return {"error": sentence(error), "gone": True}
        except MelformerError as error:
            return {"error": sentence(error)}
        except Exception:
            logger.exception("A call of the page failed: %s", str(data)[:200])
            return {"error": SURPRISE}

    def hello(self, data: dict[str, Any]) -> dict[str, Any]:
        """The session of a returning page, or a new one."""
        token = data.get("token")
        try:
            session = self.sessions.find(token)
            session.settle()
        except RequestError:
            token = self.sessions.create()
            session = self.sessions.find(token)
        limits = asdict(self.sessions.limits)
        defaults = asdict(GenerationConfig())
        names = list(self.examples)
        return {"token": token, "view": session.view(), "limits": limits, "defaults": defaults, "examples": names}

    def _find(self, data: dict[str, Any]) -> Session:
        try:
            return self.sessions.find(data.get("token"))
        except RequestError as error:
            raise SessionExpired(str(error)) from None

    def uploaded(self, value: Any) -> Path:
        """A path that was really uploaded here, not any file of the host. Errors: RequestError."""
        with suppress(ValueError, OSError):  # no path can hold a zero or half a character, nor be of any length
            path = Path(str(value)).resolve()
            if path.is_relative_to(self.uploads.resolve()) and path.is_file():
                return path
        raise RequestError("The file did not arrive. Please choose it again.")

    def example(self, name: Any) -> Path:
        if not isinstance(name, str) or name not in self.examples:
            raise RequestError(f"There is no example named {str(name)[:80]}.")
        return self.examples[name]


def sentence(error: Exception) -> str:
    """An error's message as a sentence that begins with a capital and ends with a full stop."""
    words = str(error).strip() or "That did not work"
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")


def _take(data: dict[str, Any]) -> int:
    return whole_number(data.get("take"), "The take", 1, 1_000_000)


def _load(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return session.load(actions.uploaded(data.get("path")), check_beats_per_bar(data.get("beats_per_bar", 4)))


def _example(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return session.load(actions.example(data.get("name")), check_beats_per_bar(data.get("beats_per_bar", 4)))


def _crop(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    edges = [whole_number(data.get(name), "A beat", 0, 100_000) for name in ("first", "last")]
    return session.crop(*edges)


def _retime(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    bpm = real_number(data.get("bpm"), "The BPM")
    return session.retime(bpm, check_beats_per_bar(data.get("beats_per_bar", 4)))


def _beats(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    first = whole_number(data.get("first"), "A beat", 0, 1_000_000)
    last = whole_number(data.get("last"), "A beat", first, 1_000_000)
    return session.beats(_take(data), first, min(last, first + MAX_BEATS_AT_ONCE))


def _steer(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    session.steer(data)
    return True


def _stop(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    session.stop()
    return True


def _export(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    take = session.need_take(_take(data))
    kind, part = str(data.get("kind", "wav")), str(data.get("part", "whole"))
    with actions.writing:
        return str(export_take(take, session.folder, kind, part))


def _zip(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    with actions.writing:
        return str(export_all(list(session.takes.values()), session.folder))


def _explain(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    prompt = session.need_loop().prompt
    return {"spectrum": spectrum(prompt.waveform), "usage": codebook_usage(prompt.codes)}


def _decode(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    with session.scheduler.turn():
        return decode_with(session.model, session.need_loop(), data.get("n_codebooks"))


def _edit(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    with session.scheduler.turn():
        return decode_rewritten(session.model, session.need_loop(), data.get("order"))


ACTIONS: dict[str, Callable[[Actions, Session, dict[str, Any]], Any]] = {
    "load": _load,
    "example": _example,
    "loop": lambda actions, session, data: session.loop_view(str(data.get("key"))),
    "view": lambda actions, session, data: session.view(),
    "retime": _retime,
    "crop": _crop,
    "use": lambda actions, session, data: session.use_take(_take(data)),
    "remove": lambda actions, session, data: session.remove_take(_take(data)),
    "undo": lambda actions, session, data: session.undo(),
    "beats": _beats,
    "steer": _steer,
    "stop": _stop,
    "export": _export,
    "zip": _zip,
    "explain": _explain,
    "decode": _decode,
    "edit": _edit,
}
