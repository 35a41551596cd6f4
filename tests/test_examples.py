"""The programs in the documents do what stands beside them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_double import Model, loop_samples
from page_server import Server, serving

from melformer.audio.io import write_waveform

ROOT = Path(__file__).resolve().parents[1]


def programs(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A page, and the loop that the examples name in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    for name in ("loop_120bpm.wav", "examples/house_122bpm.flac"):
        write_waveform(tmp_path / name, loop_samples(4, 120.0, 8_000))
    with serving(Model(compute_s=0.0)) as server:
        yield server


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_the_library_as_the_documents_show_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for program in programs(name, "python"):
        names: dict = {}
        exec(program, names)
        assert names["take"].n_beats == 16 and (tmp_path / "out.wav").is_file()


def test_the_api_from_python(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    streamed, whole = programs("docs/reference/http.md", "python")
    exec(streamed.replace("http://127.0.0.1:7860", server.url), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("7 ")
    exec(whole.replace("http://127.0.0.1:7860", server.url), {})
    assert ".flac" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_api_from_a_shell(server: Server) -> None:
    (program,) = programs("docs/reference/http.md", "bash")
    program = program.replace("http://127.0.0.1:7860", server.url)
    answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=120)
    assert "event: complete" in answer.stdout, answer.stdout + answer.stderr
