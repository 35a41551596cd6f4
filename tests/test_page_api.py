"""The API, as a script meets it: through gradio_client and through plain HTTP."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from page_double import Model, loop_samples
from page_server import Server, serving

from melformer.audio.io import write_waveform


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Model(compute_s=0.0)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.url, verbose=False)


@pytest.fixture(scope="module")
def loop_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "click_150bpm.wav"
    write_waveform(path, loop_samples(4, 150.0))
    return path


def test_only_the_endpoints_of_the_documents_are_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/continue", "/continue_whole", "/takes", "/stems"}


def test_streamed_beats_equal_the_whole_file(client: Client, loop_path: Path) -> None:
    job = client.submit(handle_file(str(loop_path)), n_beats=5, seed=3, api_name="/continue")
    loop, *beats, end = list(job)
    assert (loop["bpm"], loop["sample_rate"], loop["n_channels"]) == (150.0, 44_100, 2)
    assert [beat["beat"] for beat in beats] == [0, 1, 2, 3, 4]
    assert end == {"kind": "end", "n_beats": 5, "seed": 3}
    streamed = np.concatenate([np.frombuffer(base64.b64decode(beat["pcm"]), "<i2").reshape(-1, 2) for beat in beats])
    whole = client.predict(handle_file(str(loop_path)), n_beats=5, seed=3, part="new", api_name="/continue_whole")
    path = Path(whole if isinstance(whole, str) else whole["path"])
    assert path.name == "click_150bpm_5beats_seed3_new.wav"
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], streamed)


def test_what_was_left_of_a_long_file_is_told(client: Client, tmp_path: Path) -> None:
    write_waveform(path := tmp_path / "click_150bpm.wav", loop_samples(310, 150.0, rate=22_050))
    loop, *_ = client.submit(handle_file(str(path)), n_beats=1, api_name="/continue")
    told = ["Using the first 120 s of 124 s.", "Using the last 16 of 75 bars."]
    assert (loop["messages"], loop["n_beats"]) == (told, 64)


def test_sessions_of_the_api_are_not_kept(server: Server, client: Client, loop_path: Path) -> None:
    client.predict(handle_file(str(loop_path)), n_beats=1, api_name="/continue_whole")
    assert len(server.sessions) == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_beats": 0}, "from 1 to 256"),
        ({"n_beats": 10**9}, "from 1 to 256"),
        ({"seed": -1}, "seed"),
        ({"bpm": 10_000.0}, "BPM"),
        ({"temperature": -1.0}, "emperature"),
        ({"temperature": 3.1}, "from 0 to 3"),
        ({"draws": {"piano": 1}}, "drums, bass, other"),
        ({"kind": "exe"}, "wav24"),
    ],
)
def test_a_mistake_gives_a_sentence(client: Client, loop_path: Path, fields: dict, words: str) -> None:
    with pytest.raises(Exception, match=words):
        client.predict(handle_file(str(loop_path)), **{"n_beats": 1, **fields}, api_name="/continue_whole")


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_files_of_the_host_cannot_be_read(server: Server, loop_path: Path, meta: dict) -> None:
    answer = _over_http(server.url, {"path": str(loop_path), **meta})
    assert "event: error" in answer
    assert "event: complete" not in answer


def test_plain_http_works(server: Server, loop_path: Path) -> None:
    with loop_path.open("rb") as file:
        (path,) = httpx.post(f"{server.url}/gradio_api/upload", files={"files": file}).json()
    answer = _over_http(server.url, {"path": path, "meta": {"_type": "gradio.FileData"}})
    data = json.loads(answer.split("event: complete\ndata: ")[1].splitlines()[0])
    whole = httpx.get(data[0]["url"])
    assert whole.content[:4] == b"RIFF"


def _over_http(url: str, loop: dict) -> str:
    call = f"{url}/gradio_api/call/continue_whole"
    answer = httpx.post(call, json={"data": [loop, 2, 0, None, 1.0, 0.5, "whole", "wav", False]})
    if answer.status_code != 200:
        return f"event: error {answer.status_code}"
    return httpx.get(f"{call}/{answer.json()['event_id']}", timeout=30).text


def test_too_few_values_are_completed_and_none_is_told(server: Server, loop_path: Path) -> None:
    with loop_path.open("rb") as file:
        (path,) = httpx.post(f"{server.url}/gradio_api/upload", files={"files": file}).json()
    call = f"{server.url}/gradio_api/call/continue"
    loop = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(call, json={"data": [loop, 2]}).json()["event_id"]
    beats = [line for line in httpx.get(f"{call}/{event}", timeout=30).text.splitlines() if '"kind": "beat"' in line]
    assert len(beats) == 2  # each once
    answer = httpx.post(call, json={"data": []})
    assert answer.status_code == 422 and "loop must be given" in answer.json()["error"]


def test_an_endpoint_that_is_misspelt_is_not_found(server: Server) -> None:
    answer = httpx.post(f"{server.url}/gradio_api/call/contineu", json={"data": []})
    assert answer.status_code == 404 and answer.json() == {"detail": "Not found."}


def test_several_takes_and_stems_come_as_files(client: Client, loop_path: Path) -> None:
    import zipfile

    takes = client.predict(handle_file(str(loop_path)), n_beats=2, n_takes=2, seed=5, api_name="/takes")
    stems = client.predict(handle_file(str(loop_path)), api_name="/stems")
    names = [zipfile.ZipFile(one if isinstance(one, str) else one["path"]).namelist() for one in (takes, stems)]
    assert [name.split("seed")[1] for name in names[0][:2]] == ["5.wav", "6.wav"]
    assert names[1] == [f"click_150bpm_{stem}.wav" for stem in ("drums", "bass", "other")]
