"""Lanes in a real browser: what is muted is silent, what is soloed is alone, and all together are the file."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from page_double import Model
from page_moves import beat_width, load, play_to_end, select_bar, wait_idle, wait_new
from page_server import Server, as_integers, open_page, read_tap, serving, visiting, without_gaps


@pytest.fixture(scope="module")
def server(loops: list[Path]) -> Iterator[Server]:
    with serving(Model(compute_s=0.01), loops[:1]) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    with visiting(browser, server, tap=True) as page:
        yield page


def wait_lanes(page: Any) -> None:
    page.wait_for_function("melformer.state.store.beats.every((beat) => beat.stems)")
    page.wait_for_selector("[data-lane=other]")


def lane(page: Any, stem: str, what: str) -> Any:
    return page.get_by_role("button", name=f"{what} {stem}")


BEAT = 2  # the one that is played: as much as is needed to hear what the lanes do


def stems_of(page: Any) -> dict[str, np.ndarray]:
    """Of the beat that is played, as the page holds them: int64 (n_samples, 2)."""
    code = """([k, name]) => { const beat = melformer.state.store.beats[k]; return Array.from(beat.pcm, (mix, at) => {
      const drums = beat.stems.drums ? beat.stems.drums[at] : 0, bass = beat.stems.bass ? beat.stems.bass[at] : 0;
      return { drums, bass, other: mix - drums - bass, mix }[name];
    }); }"""
    names = ("drums", "bass", "other", "mix")
    return {name: np.array(page.evaluate(code, [BEAT, name])).reshape(-1, 2) for name in names}


def play_beat(page: Any) -> np.ndarray:
    """What leaves the page when the beat is clicked: float32 (n_samples, 2)."""
    read_tap(page)
    at = {"x": (BEAT + 0.5) * beat_width(page), "y": 60}
    play_to_end(page, lambda: page.locator("[data-scroll]").click(position=at))
    return read_tap(page)


def heard_as(page: Any, expected: np.ndarray) -> bool:
    heard = without_gaps(as_integers(play_beat(page)), expected, page.evaluate("melformer.player.starved"))
    return np.array_equal(heard[: len(expected)], expected)


def test_all_lanes_together_are_the_file_and_a_muted_one_is_missing(page: Any) -> None:
    load(page)
    wait_lanes(page)
    stems = stems_of(page)
    assert np.abs(stems["drums"]).max() > 0 and np.abs(stems["bass"]).max() > 0
    assert heard_as(page, stems["mix"])
    lane(page, "drums", "Mute").click()
    assert lane(page, "drums", "Mute").get_attribute("aria-pressed") == "true"
    play_beat(page)  # the gain goes down within 10 ms of the first sound
    assert heard_as(page, stems["mix"] - stems["drums"])


def test_solo_and_level_are_heard(page: Any) -> None:
    load(page)
    wait_lanes(page)
    bass = stems_of(page)["bass"]
    lane(page, "bass", "Solo").click()
    play_beat(page)  # the gains have reached their values
    assert heard_as(page, bass)
    page.get_by_label("Bass level").evaluate("(one) => { one.value = 0.5; one.dispatchEvent(new Event('input')); }")
    play_beat(page)
    assert np.abs(play_beat(page)).max() == pytest.approx(np.abs(bass).max() / 65_536, rel=1e-3)


def test_the_lanes_controls_stand_in_columns_left_of_the_timeline(page: Any) -> None:
    load(page)
    wait_lanes(page)
    for width in (1280, 1000):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(
            """() => {
              const box = (node) => node.getBoundingClientRect(), all = (what) => [...document.querySelectorAll(what)];
              const ends = all("[data-lane] > *").map((one) => box(one).right);
              const dice = new Set(all("[data-vary]").map((one) => Math.round(box(one).left)));
              return Math.max(...ends) <= box(document.querySelector("[data-scroll]")).left && dice.size === 1;
            }"""
        )


def test_lanes_are_mixed_while_new_beats_arrive(page: Any, server: Server) -> None:
    """Each comes with its stems: what is muted is silent from the first one on, and no stems are fetched afterwards."""
    load(page, unit="endless")
    wait_lanes(page)
    page.click("[data-act=continue]")
    wait_new(page, 4)
    wait_lanes(page)
    lane(page, "drums", "Mute").click()
    page.wait_for_function("melformer.player.store.beats.every((beat) => beat.stems) && melformer.player.playing")
    page.click("[data-vary=bass]")  # a take of its own, of the one that was still growing
    page.wait_for_function("melformer.state.store.take === 2 && melformer.state.store.nNew >= 4")
    assert server.model.varied[-1] == ["bass"]
    page.click("[data-act=stop]")
    wait_idle(page)
    server.model.varied.clear()
    (first, second) = page.evaluate("melformer.state.view.takes")
    assert first["n_beats"] >= 4 and second["edited"]


def test_only_new_beats_wait_for_the_stems(browser: Any, loops: list[Path]) -> None:
    with serving(Model(compute_s=0.01, stems_held=True), loops[:1]) as server:
        page = open_page(browser, server.url)
        load(page)
        page.click("[data-act=continue]")
        page.wait_for_function("melformer.player.playing")
        assert page.locator("[data-lane]").count() == 0
        assert server.model.streams == []
        server.model.stems_held = False
        wait_new(page, 4)
        wait_lanes(page)
        page.context.close()


def test_a_loop_of_one_stem_has_one_lane(browser: Any, loops: list[Path]) -> None:
    with serving(Model(present=("drums",)), loops[:1]) as server:
        page = open_page(browser, server.url)
        load(page)
        page.wait_for_selector("[data-lane=drums]")
        assert page.locator("[data-lane]").count() == 1
        page.click("[data-act=continue]")
        wait_new(page, 4)
        wait_idle(page)
        select_bar(page, 3)
        page.wait_for_selector("[data-act=again]:visible")
        assert page.locator("[data-again-stem] option").all_inner_texts() == ["all stems"]
        page.context.close()


def test_a_take_has_lanes_and_its_stems_add_up_to_the_file(page: Any) -> None:
    load(page)
    page.click("[data-act=continue]")
    wait_new(page, 4)
    wait_idle(page)
    wait_lanes(page)
    with page.expect_download() as download:
        page.click("[data-act=wav]")
    whole = soundfile.read(download.value.path(), dtype="int16", always_2d=True)[0].astype(np.int64)
    with page.expect_download() as download:
        page.click("[data-act=stems-zip]")
    assert download.value.suggested_filename == "click_200bpm_12beats_seed7_stems.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        files = {name: soundfile.read(io.BytesIO(archive.read(name)), always_2d=True)[0] for name in archive.namelist()}
    assert sorted(files) == [f"click_200bpm_12beats_seed7_{stem}.wav" for stem in ("bass", "drums", "other")]
    assert np.array_equal(np.rint(sum(files.values()) * 32_768).astype(np.int64), whole)
    with page.expect_download() as download:
        lane(page, "bass", "Download").click()
    assert download.value.suggested_filename == "click_200bpm_12beats_seed7_bass.wav"


def test_a_new_beat_shows_where_each_stem_came_from(page: Any) -> None:
    load(page)
    wait_lanes(page)
    page.click("[data-act=continue]")
    wait_new(page, 4)
    wait_idle(page)
    words = page.evaluate(
        """() => {
          const beat = melformer.state.store.beats[9];
          const source = (from, shift = 0) => [{ from, share: 1, shift, moved: false }];
          beat.sources = { drums: source(1), bass: source(5, 2), other: source(null) };
          melformer.timeline.choose(-1);
          melformer.timeline.choose(9);
          return document.querySelector("[data-readout]").textContent;
        }"""
    )
    assert words.startswith("Bar 3.2 · drums from 1.2, bass from 2.2, up 2 semitones, other synthesised")


def test_a_take_is_played_again_with_one_stem_drawn_anew(page: Any, server: Server) -> None:
    load(page)
    page.click("[data-act=continue]")
    wait_new(page, 4)
    wait_idle(page)
    wait_lanes(page)
    page.click("[data-vary=bass]")
    page.wait_for_function("melformer.state.view.takes.length === 2")
    wait_idle(page)
    assert server.model.varied == [["bass"]]
    seeds = page.evaluate("melformer.state.view.takes.map((take) => take.seed)")
    assert seeds[1] == seeds[0] + 1
