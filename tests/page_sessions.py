"""Sessions with the stand-in for the model, and the loop that visitors open."""

from pathlib import Path
from typing import Any

from page_double import Model, loop_samples

from melformer.audio.io import write_waveform
from melformer.ui.host.limits import Limits
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions


def write_loop(folder: Path) -> Path:
    path = folder / "uploads" / "click_140bpm.wav"
    write_waveform(path, loop_samples(8, 140.0))
    return path


def make(folder: Path, compute_s: float = 0.0, **limits: Any) -> Sessions:
    return Sessions(Model(compute_s=compute_s), Limits(**limits), folder / "sessions")


def visitor(sessions: Sessions, path: Path | None = None) -> Session:
    session = sessions.find(sessions.create(paced=False))
    if path is not None:
        session.load(path)
    return session


def files(session: Session, pattern: str) -> int:
    return len(list(session.folder.glob(pattern)))
