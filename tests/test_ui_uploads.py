"""Uploads: one whole file, or nothing; and the folder that holds them."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from starlette.requests import ClientDisconnect, Request

from melformer.errors import ConfigError, RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.host.uploads import MAX_NAME, Uploads, plain_name
from melformer.ui.host.workspace import LOCK, PREFIX, UPLOAD_LIFE_S, Workspace

SOUND = bytes(range(256)) * 40


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path, 1.0)
    yield workspace
    workspace.close()


def part(name: str, data: bytes, file_name: str | None = None) -> bytes:
    named = "" if file_name is None else f'; filename="{file_name}"'
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--x--\r\n"


def send(workspace: Workspace, pieces: list[Any], max_bytes: int = 20_000) -> tuple[int, Any]:
    """Status and answer; a piece that is an exception is what receiving raises, a function is called on the way."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        piece = left.pop(0)
        if callable(piece):
            piece = piece()
        if isinstance(piece, BaseException):
            raise piece
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    answer = asyncio.run(Uploads(workspace, max_bytes).serve(Request(scope, receive)))
    import json

    return answer.status_code, json.loads(answer.body)


def kept(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.uploads.rglob("*") if path.is_file()]


def test_a_file_is_kept_whole_under_its_name(workspace: Workspace) -> None:
    body = part("other", b"words") + part("files", SOUND, "loop 120bpm.wav") + END
    for size in (97, 1_000, len(body)):
        status, (path,) = send(workspace, [body[k : k + size] for k in range(0, len(body), size)])
        assert status == 200 and Path(path).read_bytes() == SOUND and Path(path).name == "loop 120bpm.wav"
    assert len(kept(workspace)) == 3


@pytest.mark.parametrize("error", [ClientDisconnect(), TimeoutError(), asyncio.CancelledError(), OSError("disk")])
def test_nothing_stays_of_an_upload_that_breaks_off(workspace: Workspace, error: BaseException) -> None:
    """In the middle of its file, which exists by then."""
    seen: list[list[Path]] = []

    def look() -> bytes:
        seen.append(kept(workspace))
        return b"more"

    with pytest.raises(type(error)):
        send(workspace, [part("files", SOUND, "a.wav")[:-2], look, error])
    assert [path.name for path in seen[0]] == ["a.wav"]
    assert list(workspace.uploads.iterdir()) == []


@pytest.mark.parametrize(("body", "status"), [
    (part("files", SOUND, "a.wav"), 400),  # no end
    (part("files", SOUND), 400),  # a field, not a file
    (part("other", SOUND, "a.wav") + END, 400),
    (part("files", SOUND, "a.wav") + part("files", SOUND, "b.wav") + END, 400),
    (part("files", SOUND * 2, "a.wav") + END, 413),
    (b"--x\r\nnonsense\r\n\r\n" + END, 400),
    (b"--x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n" + END, 400),
    (b"", 400),
])  # fmt: skip
def test_what_is_no_single_file_is_refused_and_not_kept(workspace: Workspace, body: bytes, status: int) -> None:
    found, answer = send(workspace, [body[k : k + 999] for k in range(0, len(body), 999)] or [b""])
    assert found == status and answer["detail"].endswith((".", "first."))
    assert list(workspace.uploads.iterdir()) == []


def test_form_fields_take_no_memory_and_no_disk(workspace: Workspace) -> None:
    import tracemalloc

    piece = bytes(65_536)
    head, tail = part("field", b"")[:-2], b"\r\n" + part("files", SOUND, "a.wav") + END
    tracemalloc.start()
    status, (path,) = send(workspace, [head, *[piece] * 160, tail])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert status == 200 and peak < 2e6  # of 10 MB
    assert kept(workspace) == [Path(path)]


def test_a_full_disk_is_told_before_anything_is_written(workspace: Workspace) -> None:
    (workspace.sessions / "take.f32").write_bytes(bytes(990_000))
    status, answer = send(workspace, [part("files", SOUND, "a.wav") + END])
    assert status == 507 and "1 MB" in answer["detail"] and "10 minutes" in answer["detail"]
    assert list(workspace.uploads.iterdir()) == []


@pytest.mark.parametrize(("name", "plain"), [
    ("loop_120bpm.wav", "loop_120bpm.wav"), ("../../evil.wav", "evil.wav"), ("/etc/evil.wav", "evil.wav"),
    ("..\\evil.wav", "evil.wav"), ("a\0b.wav", "a_b.wav"), ("<b>x</b>.wav", "b_.wav"), ("", "loop"), ("..", "loop"),
    ("schön 2.wav", "schön 2.wav"), ("a.b.flac", "a.b.flac"), (".hidden", "hidden"),
])  # fmt: skip
def test_names_are_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize("name", ["x" * 5_000 + ".wav", "語" * 500 + ".wav", "a." + "w" * 5_000])
def test_names_are_short_enough_for_any_disk(name: str) -> None:
    assert len(plain_name(name)) <= MAX_NAME and len(plain_name(name).encode()) < 250
    assert plain_name(name).endswith(".wav") == name.endswith(".wav")


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    living = Workspace(tmp_path, 1.0)
    (tmp_path / "others.txt").write_text("not ours")
    killed = tmp_path / f"{PREFIX}killed"
    (killed / "uploads" / "a").mkdir(parents=True)
    (killed / "uploads" / "a" / "a.wav").write_bytes(SOUND)
    (killed / LOCK).touch()
    beginning = tmp_path / f"{PREFIX}beginning"  # its process has not come to its lock yet
    beginning.mkdir()
    again = Workspace(tmp_path, 1.0)
    assert sorted(path for path in tmp_path.iterdir()) == sorted(
        [living.folder, again.folder, beginning, tmp_path / "others.txt"]
    )
    with pytest.raises(Timeout):
        FileLock(again.folder / LOCK).acquire(timeout=0)
    for workspace in (living, again):
        workspace.close()
        assert not workspace.folder.exists()


def test_old_uploads_go_and_the_oldest_when_all_are_too_many(workspace: Workspace) -> None:
    """A quarter of 1 MB is for uploads; one that was just sent stays even so."""
    paths = []
    for k, age_s in enumerate((UPLOAD_LIFE_S + 10, 300, 200, 100, 0)):
        path = workspace.uploads / str(k) / "a.wav"
        path.parent.mkdir()
        path.write_bytes(bytes(100_000))
        os.utime(path, (time.time() - age_s,) * 2)
        paths.append(path)
    workspace.sweep()
    assert [path.exists() for path in paths] == [False, False, False, True, True]
    assert not paths[0].parent.exists()


def test_room_is_made_before_it_is_refused(workspace: Workspace) -> None:
    path = workspace.uploads / "0" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(bytes(900_000))
    workspace.check_room(99_000)
    with pytest.raises(RequestError, match=r"disk is full \(1 MB\).* again in 10 minutes"):
        workspace.check_room(200_000)
    os.utime(path, (time.time() - 120,) * 2)
    workspace.check_room(200_000)
    assert workspace.used_bytes() == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from melformer.ui.app import make_workspace

    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigError, match=r"below \(not a directory\): set GRADIO_TEMP_DIR"):
        make_workspace(Limits())
