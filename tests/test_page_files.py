"""Files in a real browser: dropped anywhere, several at once, too long, and of kinds that only a browser reads."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_double import loop_samples
from page_moves import drop_files, load
from page_server import Server, open_page

from melformer.audio.io import write_waveform


def wav_bytes(samples: np.ndarray, rate: int = 44_100) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture
def page(shared_page: Any) -> Any:
    """One for all of them: each brings a loop of its own."""
    return shared_page


@pytest.fixture(scope="module")
def loop_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("files") / "loop.wav"
    write_waveform(path, loop_samples(8, 120.0, 22_050, 1))
    return path.read_bytes()


def test_a_file_may_be_dropped_anywhere(page: Any, loop_bytes: bytes) -> None:
    height = page.evaluate("innerHeight")
    assert drop_files(page, ("low_120bpm.wav", loop_bytes), at=(5, height - 5))
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'low_120bpm'")
    assert drop_files(page, ("second_120bpm.wav", loop_bytes))
    page.wait_for_function("melformer.state.loop.name === 'second_120bpm'")


def test_of_several_files_none_is_lost(page: Any, loop_bytes: bytes) -> None:
    assert drop_files(page, ("one_120bpm.wav", loop_bytes), ("two_120bpm.wav", loop_bytes))
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'one_120bpm'")
    page.get_by_role("button", name="Open two_120bpm.wav").click()
    page.wait_for_function("melformer.state.loop.name === 'two_120bpm'")


def test_stems_that_are_dropped_together_are_lanes_at_once(page: Any, server: Server) -> None:
    """Their names say which is which; nothing is separated, and their sum is the loop."""
    samples = loop_samples(8, 120.0, 22_050, 1).samples[:, 0]
    parts = {"Drums": 0.5 * samples, "Bass": 0.25 * samples[::-1], "Other": 0.1 * samples}
    assert drop_files(page, *((f"Song {name} 120bpm.wav", wav_bytes(part, 22_050)) for name, part in parts.items()))
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'Song 120bpm'")
    page.wait_for_function("melformer.state.store.beats.every((beat) => beat.stems)")
    assert page.locator("[data-lane]").count() == 3
    bass = page.evaluate("Array.from(melformer.state.store.beats[0].stems.bass.subarray(0, 999))")
    assert np.abs(np.array(bass) - 32_768 * parts["Bass"][:999]).max() <= 2  # 16 bits, rounded twice
    page.click("[data-act=double]")  # the stems go along
    page.wait_for_function("melformer.state.loop.bpm === 240 && melformer.state.store.beats.every((one) => one.stems)")
    assert page.locator("[data-lane]").count() == 3


def test_loops_that_only_sound_like_stems_are_opened_one_by_one(page: Any, loop_bytes: bytes) -> None:
    assert drop_files(page, ("my_drums_120bpm.wav", loop_bytes), ("your_bass_120bpm.wav", loop_bytes))
    page.get_by_role("button", name="Open your_bass_120bpm.wav").click()
    page.wait_for_function("melformer.state.loop.name === 'your_bass_120bpm'")


def test_a_long_recording_is_cropped_to_the_part_that_is_chosen(page: Any) -> None:
    seconds, rate = 180, 22_050
    t = np.arange(seconds * rate) / rate
    climbing = 0.5 * np.sin(2 * np.pi * (100 + t) * t)
    data = wav_bytes(climbing, rate)
    page.set_input_files("#mf-file", {"name": "long_120bpm.wav", "mimeType": "audio/wav", "buffer": data})
    page.wait_for_selector("[data-region][open]")
    page.evaluate(
        """() => { for (const [id, value] of [["#mf-region-length", 8], ["#mf-region-start", 100]]) {
          const field = document.querySelector(id);
          field.value = value;
          field.dispatchEvent(new Event("input"));
        } }"""
    )
    page.get_by_role("button", name="Use this part").click()
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'long_120bpm'")
    assert page.evaluate("melformer.state.loop.n_beats") == 16
    taken = np.frombuffer(data[44:], "<i2")[100 * rate : 108 * rate]
    pcm = np.array(page.evaluate("Array.from(melformer.state.loop.pcm.subarray(0, 5000))"))
    assert np.array_equal(pcm, taken[:5000])  # cut out byte for byte, not decoded and encoded again


def test_a_file_above_the_limit_is_cropped_instead_of_refused(browser: Any, tmp_path: Path) -> None:
    from page_double import Model
    from page_server import serving

    with serving(Model(), [], upload_mb=1) as server:
        page = open_page(browser, server.url)
        data = wav_bytes(0.2 * np.sin(np.arange(44_100 * 30) / 50))  # 2.6 MB, 30 s
        page.set_input_files("#mf-file", {"name": "big_120bpm.wav", "mimeType": "audio/wav", "buffer": data})
        page.wait_for_selector("[data-region][open]")
        page.locator("#mf-region-length").fill("8")
        page.get_by_role("button", name="Use this part").click()
        page.wait_for_function("melformer.state.loop && melformer.state.loop.n_beats === 16")
        page.context.close()


def test_the_region_window_can_be_left(page: Any) -> None:
    load(page)
    data = wav_bytes(0.2 * np.sin(np.arange(8_000 * 90) / 50), 8_000)
    page.set_input_files("#mf-file", {"name": "long.wav", "mimeType": "audio/wav", "buffer": data})
    page.wait_for_selector("[data-region][open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-act=continue]:enabled")
    assert page.evaluate("melformer.state.loop.name") == "click_200bpm"


def test_what_only_the_browser_reads_is_decoded_there(page: Any) -> None:
    """A recording as phones and browsers make it: WebM with Opus, which the server does not read."""
    data = page.evaluate(
        """async () => {
          const context = new AudioContext(), tone = context.createOscillator();
          const out = context.createMediaStreamDestination();
          tone.connect(out);
          tone.start();
          const recorder = new MediaRecorder(out.stream, { mimeType: "audio/webm;codecs=opus" }), parts = [];
          recorder.ondataavailable = (event) => parts.push(event.data);
          recorder.start();
          await new Promise((resolve) => setTimeout(resolve, 2500));
          await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
          context.close();
          return Array.from(new Uint8Array(await new Blob(parts).arrayBuffer()));
        }"""
    )
    page.set_input_files("#mf-file", {"name": "phone_120bpm.webm", "mimeType": "video/webm", "buffer": bytes(data)})
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'phone_120bpm'")
    assert page.evaluate("melformer.state.loop.n_beats") >= 3


def test_files_without_sound_are_refused_by_their_name(page: Any) -> None:
    for name, data, words in (
        ("empty.wav", b"", "empty.wav is empty."),
        ("notes.pdf", b"%PDF-1.4 nothing", "notes.pdf isn't a supported audio file."),
    ):
        page.set_input_files("#mf-file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
        page.wait_for_function(f"document.querySelector('[data-error]').textContent.startsWith({words!r})")


def test_a_snippet_is_told_what_a_loop_needs(page: Any) -> None:
    data = wav_bytes(0.2 * np.sin(np.arange(13_230) / 50))
    page.set_input_files("#mf-file", {"name": "snippet.wav", "mimeType": "audio/wav", "buffer": data})
    page.get_by_text("Too short (0.30 s): use at least a beat, ideally a bar.").wait_for()


def test_a_loop_is_recorded_from_the_microphone(page: Any) -> None:
    page.click("[data-act=record]")
    page.fill("#mf-record-bpm", "240")
    page.fill("#mf-record-bars", "1")
    page.click("[data-act=record-start]")
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'recording_240bpm'")
    assert page.evaluate("melformer.state.loop.n_beats") == 4


def test_a_microphone_that_is_refused_is_told_in_a_sentence(page: Any) -> None:
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('not allowed')); }")
    page.click("[data-act=record]")
    page.click("[data-act=record-start]")
    page.get_by_text("The microphone can't be used. Allow it in your browser's settings for this page.").wait_for()
    assert page.is_enabled("[data-act=record-start]")
    page.click("[data-record] [data-close='']")
    page.evaluate("delete navigator.mediaDevices.getUserMedia")


def test_a_file_may_be_pasted(page: Any, loop_bytes: bytes) -> None:
    page.evaluate(
        """(data) => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([new Uint8Array(data)], "pasted_120bpm.wav"));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list(loop_bytes),
    )
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'pasted_120bpm'")
