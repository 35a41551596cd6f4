"""All sessions of the host: each behind a name that nobody can guess, forgotten when unused."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from melformer.errors import RequestError
from melformer.ui.limits import Limits
from melformer.ui.scheduler import Scheduler
from melformer.ui.session import Session
from melformer.ui.stem_jobs import StemJobs


class Sessions:
    """Creates, finds and forgets sessions. A page keeps its token, so a reload finds everything again."""

    def __init__(self, model: Any, limits: Limits, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self.limits = limits
        self.folder = folder
        self.scheduler = Scheduler(limits.players, limits.queue)
        self.stem_jobs = StemJobs(model)
        self._clock = clock
        self._sessions: dict[str, tuple[Session, float]] = {}
        self._leftovers: list[tuple[Path, float]] = []
        self._lock = threading.Lock()

    def create(self, paced: bool = True) -> str:
        """A new session; gives its token. `paced`: beats are made for a listener, a little ahead."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._forget_old()
            while len(self._sessions) >= self.limits.sessions:
                # Who plays now is spared as long as somebody does not.
                self._forget(min(self._sessions, key=self._last_use))
            folder = self.folder / secrets.token_hex(16)
            session = Session(self.model, self.scheduler, self.limits, folder, paced, self.stem_jobs)
            self._sessions[token] = (session, self._clock())
        return token

    def find(self, token: Any) -> Session:
        """The session behind a token. Errors: RequestError when it is unknown or forgotten."""
        with self._lock:
            self._forget_old()
            if not isinstance(token, str) or token not in self._sessions:
                raise RequestError(
                    f"Session expired after {self.limits.session_minutes} minutes. Choose a loop to start again."
                )
            session, _ = self._sessions[token]
            self._sessions[token] = (session, self._clock())
            return session

    def __len__(self) -> int:
        return len(self._sessions)

    def forget(self, token: str, keep_files: bool = False) -> None:
        """Forget a session now; with `keep_files` its folder stays as long as an unused session would."""
        with self._lock:
            if token not in self._sessions:
                return
            if keep_files:
                session, used = self._sessions.pop(token)
                session.store.drop_takes()
                self._leftovers.append((session.folder, used))
            else:
                self._forget(token)

    def close(self) -> None:
        """Forget everybody and remove every file."""
        self.stem_jobs.close()
        with self._lock:
            for token in list(self._sessions):
                self._forget(token)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        oldest = self._clock() - 60.0 * self.limits.session_minutes
        unused = [name for name, (kept, used) in self._sessions.items() if used < oldest and not kept.is_running]
        for token in unused:
            self._forget(token)
        for folder, _ in [item for item in self._leftovers if item[1] < oldest]:
            shutil.rmtree(folder, ignore_errors=True)
        self._leftovers = [item for item in self._leftovers if item[1] >= oldest]

    def _last_use(self, token: str) -> tuple[bool, float]:
        session, used = self._sessions[token]
        return session.is_running, used

    def _forget(self, token: str) -> None:
        session, _ = self._sessions.pop(token)
        session.stop()
        shutil.rmtree(session.folder, ignore_errors=True)
