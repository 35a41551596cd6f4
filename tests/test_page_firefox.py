"""The main path in Firefox: an example goes on, its sound and lanes, a take is played and saved."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from firefox_driver import Firefox, firefox
from page_moves import wait_until
from page_server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firefox")


@pytest.fixture(scope="module")
def window(folder: Path, server: Server) -> Iterator[Firefox]:
    with firefox(folder) as window:
        window.open(server.url)
        window.wait("document.querySelector('[data-ready]')")
        yield window


def test_the_main_path(window: Firefox, folder: Path) -> None:
    """An example is there at once; it goes on in sound, has lanes, and is saved as a file."""
    window.evaluate("window.addEventListener('error', (event) => { (window.faults ||= []).push(event.message); })")
    assert window.evaluate("melformer.state.loop.name") == "click_200bpm"
    window.click("[data-act=continue]")
    window.wait("melformer.player.playing && melformer.player.heard")  # sound leaves
    window.wait("melformer.state.view.takes.length === 1 && !melformer.state.run && !melformer.player.playing")
    take = window.evaluate("melformer.state.view.takes[0]")
    assert take["n_beats"] == 16 and window.evaluate("melformer.state.store.nNew") == 16
    assert window.evaluate("melformer.player.starved") == 0
    window.wait("document.querySelectorAll('[data-lane]').length === 3")
    window.click("[data-lane=drums] .mf-toggle")  # mute
    assert window.evaluate("melformer.player.gains.join()") == "0,1,1"
    window.click("[data-take-list] [data-play=take]")
    window.wait("melformer.player.playing && melformer.player.heard")
    window.click("[data-act=play]")
    window.wait("!melformer.player.playing")
    window.click("[data-act=wav]")
    saved = folder / "click_200bpm_24beats_seed7.wav"
    window.wait("document.querySelector('[data-live]').textContent.includes('is saved')")
    wait_until(lambda: saved.exists() and saved.stat().st_size > 0)
    assert soundfile.info(saved).frames == 24 * 13_230
    assert not window.evaluate("window.faults || null")


def test_space_plays_and_pauses(window: Firefox) -> None:
    """Firefox presses a focused button on the key's way up, which must not press it a second time."""
    window.click("[data-act=start]")
    window.type("[data-act=start]", " ")
    window.wait("melformer.player.playing")
    window.type("[data-act=start]", " ")
    window.wait("!melformer.player.playing")


def test_a_file_is_opened(window: Firefox, loops: list[Path]) -> None:
    window.type("#mf-file", str(loops[0]))
    window.wait("melformer.state.loop.example === '' && melformer.state.loop.name === 'click_200bpm'")
    window.type("#mf-file", str(loops[1]))
    window.wait("document.querySelector('[data-error]').textContent.startsWith('words.wav')")
