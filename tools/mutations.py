"""Takes away one guard after another in a copy of the project, and runs the tests that SECURITY.md names for it.

    python tools/mutations.py                    # all twenty; exits with 1 when more than one survives
    python tools/mutations.py allow-list cors    # only these
    python tools/mutations.py --list

A mutation that no test notices has survived: then a promise rests on a test that cannot fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("melformer", "tests", "tools", "examples", "docs", "app.py", "pyproject.toml", "requirements.txt", "README.md",
         "SECURITY.md")  # fmt: skip
TIMEOUT_S = 900
ALLOWED_SURVIVORS = 1


@dataclass(frozen=True)
class Mutation:
    """A guard that is taken away: in `file`, `old` becomes `new`; one of `tests` must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation("allow-list", "ui/host/middleware.py",
             "not _POST.fullmatch(path)", 'not path.endswith(("/upload", "/join"))',
             ("test_ui_middleware.py",)),
    Mutation("named files", "ui/host/middleware.py", "elif names_a_foreign_file(data, self.uploads):", "elif False:",
             ("test_ui_middleware.py::test_only_uploaded_files_are_named",)),
    Mutation("size of a body", "ui/host/middleware.py", "if self.n_bytes > self.max_bytes:", "if False:",
             ("test_ui_middleware.py::test_a_request_has_a_size",)),
    Mutation("trickling body", "ui/host/middleware.py", "max(0.0, min(self.idle_s, left_s))", "self.idle_s",
             ("test_ui_middleware.py::test_a_request_that_trickles_is_ended",)),
    Mutation("cross-site", "ui/host/middleware.py", 'headers.get(b"sec-fetch-site") == b"cross-site"', "False",
             ("test_ui_middleware.py::test_another_sites_page_may_not_ask",)),
    Mutation("cors", "ui/host/middleware.py", 'if header[0] != b"origin"]', "]",
             ("test_ui_middleware.py::test_gradio_hears_of_no_origin",)),
    Mutation("pieces", "ui/host/middleware.py", "or len(body) <= PIECE_BYTES:", "or True:",
             ("test_ui_middleware.py::test_answers_leave_in_pieces",)),
    Mutation("half a head", "ui/host/server.py", "self.cycle is None or self.cycle.response_complete", "False",
             ("test_ui_server.py",)),
    Mutation("stalled reader", "ui/host/server.py",
             "self.loop, self.stall_s, self.transport.abort", "self.loop, 3600.0, id",
             ("test_ui_server.py::test_a_reader_that_stalls_is_left",)),
    Mutation("unheard stream", "ui/host/outbox.py", ">= most and", ">= 10**9 and",
             ("test_ui_outbox.py::test_a_stream_that_nobody_hears_ends",)),
    Mutation("half an upload", "ui/host/uploads.py", "except BaseException:", "except ZeroDivisionError:",
             ("test_ui_uploads.py::test_nothing_stays_of_an_upload_that_breaks_off",)),
    Mutation("old uploads", "ui/host/workspace.py", "if too_many or now_s - changed_s > UPLOAD_LIFE_S:", "if False:",
             ("test_ui_uploads.py::test_old_uploads_go_and_the_oldest_when_all_are_too_many",)),
    Mutation("files of the API", "ui/session/sessions.py", "if item[1] < oldest]:", "if False]:",
             ("test_ui_full.py::test_files_of_the_api_are_removed_when_their_time_is_over",)),
    Mutation("memory for loops", "ui/takes/spool.py", "if total <= self.budget_bytes:", "if True:",
             ("test_ui_spool.py::test_the_budget_is_for_everybody",
              "test_ui_costs.py::test_loops_lie_on_disk_and_not_in_memory")),
    Mutation("line for work", "ui/host/work.py", "if len(self._line) > self.max_waiting:", "if False:",
             ("test_ui_work.py::test_who_would_wait_too_long_is_told_for_how_long",)),
    Mutation("order of those who wait", "ui/session/scheduler.py", "or self._waiting[0] is not player:", ":",
             ("test_ui_scheduler.py::test_who_came_first_plays_first",)),
    Mutation("queue", "ui/session/scheduler.py", "if self.n_playing + self.n_waiting >= self.max_people:", "if False:",
             ("test_ui_scheduler.py::test_too_many_people_are_asked_to_come_back",)),
    Mutation("players spared", "ui/session/sessions.py",
             "return session.is_busy, not session.is_empty, used", "return used",
             ("test_ui_full.py::test_who_plays_is_spared",)),
    Mutation("takes at once", "ui/session/runs.py",
             "check_size(loop, request.n_beats, n_takes, self.session.limits)", "pass",
             ("test_ui_turns.py::test_several_takes_have_the_limits_of_one",)),
    Mutation("weights only", "train/checkpoint.py", "weights_only=True", "weights_only=False",
             ("test_train_damaged.py::test_a_state_that_would_run_code_runs_none",)),
)  # fmt: skip


def copy_of_the_project(folder: Path) -> Path:
    """What the tests need, without checkpoints that are large and never changed: those are linked."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


def mutate(folder: Path, mutation: Mutation) -> str:
    """Take the guard away; gives the file's text from before. Errors: ValueError when it is not there, once."""
    path = folder / "melformer" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: {mutation.old!r} must stand once in {mutation.file}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return text


def passes(folder: Path, tests: tuple[str, ...]) -> bool:
    """Whether all of these tests pass there. Errors: RuntimeError when they could not be run at all."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--durations=0"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-2_000:] + done.stderr[-2_000:])
    return done.returncode == 0


def survivors(mutations: list[Mutation]) -> list[str]:
    """The names of the mutations that no test noticed; each is told as it is known."""
    found = []
    with tempfile.TemporaryDirectory(prefix="melformer-mutations-") as name:
        folder = copy_of_the_project(Path(name))
        for mutation in mutations:
            began_s, text = time.monotonic(), mutate(folder, mutation)
            try:
                survived = passes(folder, mutation.tests)
            finally:
                (folder / "melformer" / mutation.file).write_text(text, encoding="utf-8")
            mark = "SURVIVED" if survived else "noticed "
            print(f"{mark} {mutation.name} ({time.monotonic() - began_s:.0f} s)", flush=True)
            found += [mutation.name] * survived
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="mutations; all where none is named")
    parser.add_argument("--list", action="store_true", help="only tell their names")
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if not options.names or one.name in options.names]
    if options.list:
        print("\n".join(f"{one.name}: {one.file}: {', '.join(one.tests)}" for one in chosen))
        return 0
    found = survivors(chosen)
    print(f"{len(chosen) - len(found)} of {len(chosen)} were noticed; survivors: {', '.join(found) or 'none'}")
    return 1 if len(found) > ALLOWED_SURVIVORS else 0


if __name__ == "__main__":
    sys.exit(main())
