"""What the page can ask for between two streams: one entry point, and each mistake a sentence."""

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from melformer.errors import MelformerError, RequestError
from melformer.generate import GenerationConfig
from melformer.stems import STEMS
from melformer.ui.example_cards import ExampleLoops
from melformer.ui.explain import codebook_usage, decode_rewritten, decode_with, spectrum
from melformer.ui.session.requests import MAX_SEED, real_number, whole_number
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.session.stem_jobs import PcmStems
from melformer.ui.takes.exports import export_all, export_stem, export_stems, export_take, file_name, loop_file_name
from melformer.ui.takes.loops import PromptLoop, check_beats_per_bar, open_loop

logger = logging.getLogger(__name__)
SURPRISE = "Something went wrong on the server. Your loop and takes are safe: try again."
MAX_BEATS_AT_ONCE = 64


class SessionExpired(RequestError):
    """The session was forgotten: the page has to begin a new one."""


class Actions:
    """Calls of the page, by name. Files come only from `uploads`, the loops offered from `examples`."""

    def __init__(self, sessions: Sessions, examples: list[Path], uploads: Path) -> None:
        self.sessions = sessions
        self.examples = ExampleLoops(examples)
        self.uploads = uploads
        self.work = sessions.work

    def call(self, data: dict[str, Any]) -> dict[str, Any]:
        """`{"ok": answer}` or `{"error": sentence}`; never an exception, since the page could not show it."""
        try:
            if not isinstance(data, dict):
                raise RequestError("A request must be a JSON object.")
            if data.get("do") == "hello":
                return {"ok": self.hello(data)}
            session = self._find(data)
            todo = ACTIONS.get(str(data.get("do")))
            if todo is None:
                raise RequestError(f"No such request: {str(data.get('do'))[:40]!r}. Reload the page.")
            with session.in_use(), self.work.turn() if todo in COSTLY else nullcontext():
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
            session.runs.settle()
        except RequestError:
            token, session = self.sessions.open(paced=True)
        limits = asdict(self.sessions.limits)
        defaults = asdict(GenerationConfig())
        cards = self.examples.cards()
        return {"token": token, "view": session.view(), "limits": limits, "defaults": defaults, "examples": cards}

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
        raise RequestError("The upload didn't arrive. Please choose the file again.")

    def example(self, session: Session, name: Any, beats_per_bar: int | None) -> PromptLoop:
        """An example's loop, opened once for all. Errors: RequestError when there is none of this name."""
        if not isinstance(name, str) or name not in self.examples.paths:
            raise RequestError(f"There is no example named {str(name)[:80]}.")

        def open_path(path: Path, bar: int | None) -> PromptLoop:
            folder = self.sessions.folder / "examples"
            folder.mkdir(parents=True, exist_ok=True)
            loop = replace(open_loop(session.model, path, session.limits, bar), example=path.name)
            return session.host.spool.keep(loop, folder)

        return self.examples.loop(name, beats_per_bar, open_path)


def sentence(error: Exception) -> str:
    """An error's message as a sentence: a capital in front (but a file's name stays as it is) and a full stop."""
    words = str(error).strip() or "That didn't work"
    if not re.match(r"\S+\.[A-Za-z0-9]{1,5}\b", words):
        words = words[0].upper() + words[1:]
    return words + ("" if words[-1] in ".!?" else ".")


def _take(data: dict[str, Any]) -> int:
    return whole_number(data.get("take"), "The take", 1, 1_000_000)


def _load(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    bpm, start_s = (
        None if data.get(name) is None else real_number(data[name], words)
        for name, words in (("bpm", "The BPM"), ("start_s", "The start"))
    )
    path, beats_per_bar = actions.uploaded(data.get("path")), check_beats_per_bar(data.get("beats_per_bar"))
    return session.load(path, beats_per_bar, bpm, start_s)


def _load_stems(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    files = data.get("paths")
    if not isinstance(files, dict) or not files or not set(files) <= set(STEMS):
        raise RequestError(f"Give one file per stem, named {', '.join(STEMS)}.")
    paths = {name: actions.uploaded(files[name]) for name in STEMS if name in files}
    name, beats_per_bar = str(data.get("name") or "stems"), check_beats_per_bar(data.get("beats_per_bar"))
    return session.load_stems(paths, name, beats_per_bar)


def _example(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    loop = actions.example(session, data.get("name"), check_beats_per_bar(data.get("beats_per_bar")))
    return session.open(loop)


def _crop(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    edges = [whole_number(data.get(name), "A beat", 0, 100_000) for name in ("first", "last")]
    return session.crop(*edges)


def _retime(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    bpm = real_number(data.get("bpm"), "The BPM")
    n_bars = data.get("n_bars")
    return session.retime(
        bpm,
        check_beats_per_bar(data.get("beats_per_bar")) or session.need_loop().beats_per_bar,
        shift_s=real_number(data.get("shift_s", 0.0), "The shift"),
        n_bars=None if n_bars is None else whole_number(n_bars, "The number of bars", 1, 512),
        tapped=data.get("tapped") is True,
    )


def _again(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    stem = data.get("stem")
    if stem is not None and stem not in STEMS:
        raise RequestError(f"A stem is one of {', '.join(STEMS)}, not {str(stem)[:40]}.")
    first = whole_number(data.get("first"), "A beat", 0, 1_000_000)
    end = whole_number(data.get("end"), "A beat", first + 1, 1_000_000)
    seed = whole_number(data.get("seed", 0), "The seed", 0, MAX_SEED)
    return session.redo_part(_take(data), first, end, None if stem is None else [str(stem)], seed)


def _name(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return session.name_take(_take(data), str(data.get("name") or ""))


def _mark(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return session.mark_take(_take(data), data.get("on") is True)


def _beats(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    first = whole_number(data.get("first"), "A beat", 0, 1_000_000)
    last = whole_number(data.get("last"), "A beat", first, 1_000_000)
    return session.need_take(_take(data)).packed(first, min(last, first + MAX_BEATS_AT_ONCE))


def _steer(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    session.runs.steer(data)
    return True


def _stop(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    session.runs.stop()
    return True


def _export(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    take = session.need_take(_take(data))
    kind, part = str(data.get("kind", "wav")), str(data.get("part", "whole"))
    session.check_disk()
    return str(export_take(take, session.folder, kind, part))


def _zip(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    session.check_disk()
    return str(export_all(list(session.takes.values()), session.folder, str(data.get("part", "whole"))))


def _export_stem(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    stems, name = _stems(session, data)
    session.check_disk()
    with actions.work.turn():
        return str(export_stem(stems, str(data.get("stem")), name, session.folder, _loop(session, data)))


def _export_stems(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    stems, name = _stems(session, data)
    session.check_disk()
    with actions.work.turn():
        return str(export_stems(stems, name, session.folder, _loop(session, data)))


def _loop(session: Session, data: dict[str, Any]) -> PromptLoop:
    return session.need_loop() if data.get("take") is None else session.need_take(_take(data)).loop


def _stems(session: Session, data: dict[str, Any]) -> tuple[PcmStems, str]:
    stems = session.stems_of(data.get("take"), wait_s=60.0)
    if not isinstance(stems, PcmStems):
        raise RequestError("The stems aren't ready yet. Try again in a moment.")
    if data.get("take") is None:
        return stems, loop_file_name(session.need_loop())
    return stems, file_name(session.need_take(_take(data)), "")


def _explain(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    prompt = session.need_loop().prompt
    return {"spectrum": spectrum(prompt.waveform), "usage": codebook_usage(prompt.codes)}


def _decode(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return decode_with(session.model, session.need_loop(), session.folder, data.get("n_codebooks"))


def _edit(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return decode_rewritten(session.model, session.need_loop(), session.folder, data.get("order"))


def _use(actions: Actions, session: Session, data: dict[str, Any]) -> Any:
    return session.use_take(_take(data))


COSTLY = (_load, _load_stems, _example, _retime, _crop, _use, _again, _export, _zip, _explain, _decode, _edit)
"""These read, resample, write or decode much: they go through the host's queue for work, one at a time."""
ACTIONS: dict[str, Callable[[Actions, Session, dict[str, Any]], Any]] = {
    "load": _load,
    "load_stems": _load_stems,
    "example": _example,
    "loop": lambda actions, session, data: session.loop_view(str(data.get("key"))),
    "view": lambda actions, session, data: session.view(),
    "retime": _retime,
    "crop": _crop,
    "use": _use,
    "again": _again,
    "rename": _name,
    "favourite": _mark,
    "reopen": lambda actions, session, data: session.reopen(str(data.get("key"))),
    "stems": lambda actions, session, data: session.stems(data),
    "export_stem": _export_stem,
    "export_stems": _export_stems,
    "remove": lambda actions, session, data: session.remove_take(_take(data)),
    "undo": lambda actions, session, data: session.undo(),
    "redo": lambda actions, session, data: session.redo(),
    "beats": _beats,
    "steer": _steer,
    "stop": _stop,
    "export": _export,
    "zip": _zip,
    "explain": _explain,
    "decode": _decode,
    "edit": _edit,
}
