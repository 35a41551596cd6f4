"""What the browser plays is what it lets you download: sample for sample, over every join."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from page_double import Model, loop_samples
from page_server import Server, as_integers, read_tap, serving, visiting, without_gaps

from melformer.audio.io import write_waveform


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Model(compute_s=0.02)) as server:
        yield server


@pytest.fixture(scope="module")
def loop_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loops") / "click_174bpm.wav"
    write_waveform(path, loop_samples(4, 174.0))
    return path


@pytest.fixture
def page(browser: Any, server: Server, loop_path: Path) -> Iterator[Any]:
    with visiting(browser, server, tap=True) as page:
        page.set_input_files("#mf-file", str(loop_path))
        page.wait_for_selector("[data-act=continue]:enabled")
        yield page


def wait_ended(page: Any) -> None:
    page.wait_for_function("!melformer.state.run && !melformer.player.playing && melformer.state.view.takes.length")


def saved(page: Any, tmp_path: Path, name: str = "Save as WAV") -> tuple[Path, np.ndarray]:
    with page.expect_download() as download:
        page.get_by_role("button", name=name).first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path, soundfile.read(path, dtype="int16", always_2d=True)[0].astype(np.int64)


def output(page: Any, expected: np.ndarray) -> np.ndarray:
    """What left the player from the start of `expected` on, int64 (n_samples, 2)."""
    return without_gaps(as_integers(read_tap(page)), expected, page.evaluate("melformer.player.starved"))


def test_output_equals_download(page: Any, tmp_path: Path) -> None:
    page.fill("#mf-count", "6")
    page.select_option("[data-unit]", "beats")
    page.click("[data-act=continue]")
    wait_ended(page)
    path, expected = saved(page, tmp_path)
    assert path.name == "click_174bpm_10beats_seed7.wav"
    assert len(expected) == round(10 * 60 * 44_100 / 174)
    heard = output(page, expected)
    assert np.array_equal(heard[: len(expected)], expected)
    assert not heard[len(expected) :].any()

    page.click("[data-act=keep]")  # from the last bar on, over the end of the first run
    wait_ended(page)
    path, expected = saved(page, tmp_path)
    assert path.name == "click_174bpm_16beats_seed7.wav"
    tail = expected[round(6 * 60 * 44_100 / 174) :]
    assert np.array_equal(output(page, tail)[: len(tail)], tail)


def test_silence_that_the_player_owns_up_to_is_told_apart() -> None:
    tune = np.random.default_rng(0).integers(-9, 10, (400, 2))
    gap = np.zeros((30, 2), np.int64)
    heard = np.concatenate([gap, tune[:100], gap, tune[100:250], gap, tune[250:], gap])
    assert np.array_equal(without_gaps(heard, tune, 60)[:400], tune)
    assert not np.array_equal(without_gaps(heard, tune, 59)[:400], tune)
    assert not np.array_equal(without_gaps(np.delete(heard, 200, axis=0), tune, 60)[:400], tune)
