"""All sessions of the host: each behind a name that nobody can guess, forgotten when unused."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from melformer.errors import RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.host.work import WorkQueue
from melformer.ui.session.composing import Host
from melformer.ui.session.scheduler import Scheduler
from melformer.ui.session.session import Session
from melformer.ui.session.stem_jobs import StemJobs
from melformer.ui.takes.spool import Spool

YOUNG_S = 60.0
"""A file that was made for a script stays for so long, however many there are."""


class Sessions:
    """Creates, finds and forgets sessions. A page keeps its token, so a reload finds everything again."""

    def __init__(
        self, model: Any, limits: Limits, folder: Path, clock: Callable[[], float] = time.monotonic,
        check_room: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`check_room` raises RequestError when the host's disk has none left."""
        self.limits = limits
        self.folder = folder
        self.scheduler = Scheduler(limits.players, limits.queue, limits.ahead_s / 2)
        self.work = WorkQueue(limits.work, self.scheduler.keeps_up)
        self.stem_jobs = StemJobs(self.work.make_way)
        self.host = Host(model, self.scheduler, Spool(round(1e6 * limits.memory_mb)), check_room)
        self._clock = clock
        self._sessions: dict[str, tuple[Session, float]] = {}
        self._leftovers: list[tuple[Path, float]] = []
        self._lock = threading.Lock()

    def create(self, paced: bool = True) -> str:
        """A new session; gives its token. `paced`: beats are made for a listener, a little ahead.

        When the host is full the longest unused makes way; nobody whose stream plays or whose call is being answered.
        Errors: RequestError when that is everybody.
        """
        return self.open(paced)[0]

    @contextmanager
    def visit(self, keep_files: bool = False) -> Iterator[Session]:
        """A session for one request, which makes way for nobody and is forgotten at the end; `keep_files` as in
        `forget`. Errors: as for `create`."""
        with ExitStack() as held:
            token, session = self.open(False, held)
            try:
                yield session
            finally:
                held.close()
                self.forget(token, keep_files)

    def open(self, paced: bool, held: ExitStack | None = None) -> tuple[str, Session]:
        """As `create`, with the session itself; it is in use from its first moment until `held` is closed."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._forget_old()
            while len(self._sessions) >= self.limits.sessions:
                last = min(self._sessions, key=self._worth)  # who has nothing goes first
                if self._sessions[last][0].is_busy:
                    raise RequestError(
                        f"The server is full ({self.limits.sessions} sessions). Please try again in a minute."
                    )
                self._forget(last)
            folder = self.folder / secrets.token_hex(16)
            session = Session(self.host, self.limits, folder, paced, self.stem_jobs)
            if held is not None:
                held.enter_context(session.in_use())
            self._sessions[token] = (session, self._clock())
        return token, session

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

    def sweep(self) -> None:
        """Forget who was away for too long, and files that were made for scripts when they are old or too many."""
        with self._lock:
            self._forget_old()
            young = self._clock() - YOUNG_S
            sizes = [sum(path.stat().st_size for path in folder.glob("*")) for folder, _ in self._leftovers]
            while sum(sizes) > 1e6 * self.limits.files_mb and self._leftovers[0][1] < young:
                shutil.rmtree(self._leftovers.pop(0)[0], ignore_errors=True)
                sizes.pop(0)

    def __len__(self) -> int:
        return len(self._sessions)

    def forget(self, token: str, keep_files: bool = False) -> None:
        """Forget a session now; with `keep_files` its folder stays as long as an unused session would."""
        with self._lock:
            if token not in self._sessions:
                return
            if keep_files:
                session, _ = self._sessions.pop(token)
                session.store.drop_all()
                self._leftovers.append((session.folder, self._clock()))
            else:
                self._forget(token)

    def stop(self) -> None:
        """End what runs, a stream behind the beat that is made; nobody begins anything any more."""
        self.work.close()
        self.scheduler.close()
        self.stem_jobs.close()
        with self._lock:
            sessions = [session for session, _ in self._sessions.values()]
        for session in sessions:
            session.runs.stop()

    def close(self) -> None:
        """Forget everybody and remove every file."""
        self.stop()
        with self._lock:
            for token in list(self._sessions):
                self._forget(token)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        oldest = self._clock() - 60.0 * self.limits.session_minutes
        unused = [name for name, (kept, used) in self._sessions.items() if used < oldest and not kept.is_busy]
        for token in unused:
            self._forget(token)
        for folder, _ in [item for item in self._leftovers if item[1] < oldest]:
            shutil.rmtree(folder, ignore_errors=True)
        self._leftovers = [item for item in self._leftovers if item[1] >= oldest]

    def _worth(self, token: str) -> tuple[bool, bool, float]:
        session, used = self._sessions[token]
        return session.is_busy, not session.is_empty, used

    def _forget(self, token: str) -> None:
        session, _ = self._sessions.pop(token)
        session.runs.stop()
        shutil.rmtree(session.folder, ignore_errors=True)
