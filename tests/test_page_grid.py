"""The grid in a real browser: tapping, nudging, where bar 1 starts, and how many bars there are."""

from pathlib import Path
from typing import Any

import pytest
from page_moves import beat_width, load, notice
from test_tempo_metre import WALTZ, band

from melformer.audio.io import write_waveform
from melformer.errors import RequestError
from melformer.ui.takes.loops import snap_bpm


@pytest.fixture
def page(shared_page: Any) -> Any:
    """One for all of them: each loads the loop anew."""
    return shared_page


def open_grid(page: Any) -> None:
    if page.locator(".mf-grid").get_attribute("open") is None:
        page.click(".mf-grid > summary")


def test_nothing_that_is_clicked_repeatedly_moves(page: Any) -> None:
    load(page)
    steps = page.evaluate(
        """() => {
          const names = ["tap", "half", "double"], act = (name) => document.querySelector(`[data-act=${name}]`);
          const look = () => [document.querySelector("[data-source]").textContent,
            names.map((name) => JSON.stringify(act(name).getBoundingClientRect()))];
          const steps = [look()];
          for (let k = 0; k < 2; k++) {  // one after the other, however slow the machine
            act("tap").click();
            steps.push(look());
          }
          return steps;
        }"""
    )
    (_, before), *tapped = steps
    for words, (said, places) in zip(("3 more taps", "2 more taps"), tapped, strict=True):
        assert words in said
        assert places == before
    page.get_by_text("from file name").wait_for()  # the taps are forgotten, and the words are as before
    assert page.evaluate("melformer.state.loop.bpm") == 200


def test_six_clicks_on_tap_are_six_taps(page: Any) -> None:
    load(page)
    page.evaluate("document.addEventListener('click', (event) => (window.hit ||= []).push(event.target.dataset.act))")
    box = page.locator("[data-act=tap]").bounding_box()
    for _ in range(6):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(300)
    assert page.evaluate("window.hit") == 6 * ["tap"]
    page.wait_for_function("!document.querySelector('[data-source]').textContent.includes('tap')")  # all is done


def test_the_grid_is_nudged_and_the_menu_stays(page: Any) -> None:
    load(page)
    open_grid(page)
    before = page.locator("[data-act=later]").bounding_box()
    for _ in range(2):
        page.click("[data-act=later]")
        page.wait_for_function("!melformer.state.loading")
    assert page.locator("[data-act=later]").bounding_box() == before
    page.wait_for_function("melformer.state.loop.messages.some((text) => text.includes('0.02'))")
    for _ in range(3):
        page.click("[data-act=earlier]")
        page.wait_for_function("!melformer.state.loading")
    assert notice(page) == "The grid already starts at the beginning of the file."


def test_bar_one_starts_where_the_playhead_stands(page: Any) -> None:
    load(page)
    width = beat_width(page)
    page.locator("[data-scroll]").click(position={"x": 2.5 * width, "y": 60})
    open_grid(page)
    page.click("[data-act=one]")
    page.wait_for_function("melformer.state.loop.n_beats === 6")


def test_the_tempo_follows_the_number_of_bars(page: Any) -> None:
    load(page)
    open_grid(page)
    page.fill("#mf-bars", "1")
    page.click("[data-act=bars]")
    page.wait_for_function("melformer.state.loop.bpm === 100 && melformer.state.loop.n_beats === 4")
    page.fill("#mf-bars", "9")
    page.click("[data-act=bars]")
    assert notice(page) == "9 bars of 4 in 2.4 s would be 900 BPM; the tempo must be 40–240 BPM."


def test_a_tempo_out_of_range_is_refused_beside_its_field(page: Any) -> None:
    load(page)
    page.fill("#mf-bpm", "0")
    page.press("#mf-bpm", "Enter")
    assert notice(page) == "Tempo must be 40–240 BPM, not 0."
    assert page.input_value("#mf-bpm") == "200"


@pytest.mark.parametrize(
    ("tapped", "seconds", "expected"),
    [
        (84.3, 16 * 60 / 87, 87.0),  # 15.5 beats: 16 were meant
        (121.5, 16.0, 120.0),
        (119.2, 15 * 60 / 119, 119.0),  # no whole bars: whole beats
        (100.0, 11.3 * 0.6, 100.0),  # fits nothing: as tapped
        (97.0, 300.0, 97.0),  # a long recording says nothing
        (60.0, 0.3, 60.0),
    ],
)
def test_a_tapped_tempo_snaps_to_the_length(tapped: float, seconds: float, expected: float) -> None:
    assert snap_bpm(tapped, seconds, 4, 64) == pytest.approx(expected)


def test_impossible_bars_are_refused() -> None:
    from types import SimpleNamespace

    from melformer.ui.takes.loops import bpm_of_bars

    loop: Any = SimpleNamespace(raw=SimpleNamespace(duration_s=8.0), start_s=0.0)
    assert bpm_of_bars(loop, 4, 4) == 120.0
    with pytest.raises(RequestError, match="40–240"):
        bpm_of_bars(loop, 64, 4)


def test_a_waltz_is_counted_in_three_and_the_next_loop_by_its_own_sound(page: Any, tmp_path: Path) -> None:
    write_waveform(tmp_path / "waltz.wav", band(120, WALTZ, n_bars=4))
    page.set_input_files("#mf-file", str(tmp_path / "waltz.wav"))
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'waltz'")
    assert page.input_value("#mf-bar") == "3"
    load(page)
    page.wait_for_function("melformer.state.loop.name !== 'waltz'")
    assert page.input_value("#mf-bar") == "4"
