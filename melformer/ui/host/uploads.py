"""Uploads: one file a request, written as it arrives, and gone unless it is whole."""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from melformer.errors import RequestError
from melformer.ui.host.workspace import Workspace

FIELD = "files"
FORM_BYTES = 16_384
"""What a form may have around its file."""
MAX_NAME = 60
MAX_HEADER_BYTES = 8_192


class Uploads:
    """Takes the place of Gradio's own `/upload`, which keeps every part, also of requests that never end."""

    def __init__(self, workspace: Workspace, max_bytes: int) -> None:
        self.workspace, self.max_bytes = workspace, max_bytes

    async def serve(self, request: Request) -> Response:
        """The paths of the files that were kept: a list of one, as Gradio answers."""
        folder = self.workspace.uploads / secrets.token_hex(16)
        try:
            await asyncio.to_thread(self.workspace.check_room, self.max_bytes)
            folder.mkdir()
            path = await _receive(request.headers.get("content-type", ""), request.stream(), folder, self.max_bytes)
        except RequestError as error:
            return _failed(folder, 507, str(error))
        except FormParserError:
            return _failed(folder, 400, "The upload is damaged. Please send it again.")
        except FileNotFoundError:  # the page ends, and its folder is gone
            return _failed(folder, 503, "The server is restarting. Please try again in a minute.")
        except BaseException:  # broken off, too slow, too long: whoever waits for it is told by the guard
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if isinstance(path, Path):
            return JSONResponse([str(path)])
        return _failed(folder, *path)


def plain_name(name: str) -> str:
    """The last part of a file's name in plain letters, with its suffix: 60 characters at most."""
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = re.sub(r"[^\w\-. ]+", "_", last).strip(". ") or "loop"
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix) > 8:
        return plain[:MAX_NAME]
    return f"{stem[: MAX_NAME - len(suffix) - 1]}.{suffix}"


async def _receive(
    content_type: str, stream: AsyncIterator[bytes], folder: Path, max_bytes: int
) -> Path | tuple[int, str]:
    """The file, or a status and words for why there is none. Errors: FormParserError; what the stream raises."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        return 400, "The form has no boundary."
    form = _Form(folder)
    parser = MultipartParser(boundary, form.callbacks(), max_header_size=MAX_HEADER_BYTES)  # type: ignore[arg-type]
    try:
        async for chunk in stream:
            await asyncio.to_thread(parser.write, chunk)
            if form.n_bytes > max_bytes:
                return 413, f"The file is over the limit of {max_bytes / 1e6:g} MB. Trim it, or use FLAC."
            if form.n_files > 1:
                return 400, "Send one file at a time."
    finally:
        form.close()
    if form.path is None or not form.is_whole:
        return 400, f"The form has no complete file in the field {FIELD!r}."
    return form.path


class _Form:
    """What a multipart form holds: its file goes to disk, everything else nowhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.n_files, self.n_bytes, self.is_whole = 0, 0, False
        self._file: IO[bytes] | None = None
        self._writing = False
        self._field, self._value, self._disposition = b"", b"", b""

    def callbacks(self) -> dict[str, object]:
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        return {f"on_{name}": getattr(self, name) for name in names}

    def part_begin(self) -> None:
        self._disposition, self._writing = b"", False

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            return
        self.n_files += 1
        if self.n_files == 1:
            self.path = self.folder / plain_name(options[b"filename"].decode("utf-8", "replace"))
            self._file, self._writing = self.path.open("xb"), True

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._writing and self._file is not None:
            self.n_bytes += end - start
            self._file.write(data[start:end])

    def end(self) -> None:
        self.is_whole = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _failed(folder: Path, status: int, words: str) -> Response:
    shutil.rmtree(folder, ignore_errors=True)
    return JSONResponse({"detail": words}, status_code=status)
