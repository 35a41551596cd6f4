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
from page_moves import beat_width, load, notice, play_to_end, select_bar, wait_idle, wait_new
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
    page.click("[data-act=stop]")
    wait_idle(page)


def test_a_stem_of_a_running_stream_plays_another_line_while_the_rest_goes_on(page: Any, server: Server) -> None:
    """From the next beat on, in the same take; a stem that was kept is let go."""
    load(page, unit="endless")
    wait_lanes(page)
    lane(page, "bass", "Keep").click()
    page.click("[data-act=continue]")
    wait_new(page, 4)
    stream = server.model.streams[-1]
    assert stream.config.draws == (0, 0, 0) and stream.config.keep == ("bass",)
    n_streams = len(server.model.streams)
    page.click("[data-vary=bass]")
    page.wait_for_function("melformer.timeline.marks.size === 1")
    assert stream.config.draws == (0, 1, 0) and stream.config.keep == ()
    assert lane(page, "bass", "Keep").get_attribute("aria-pressed") == "false"
    assert "A new bass line coming up. The rest stays." in page.inner_text("[data-live]")
    page.click("[data-vary=bass]")
    page.click("[data-vary=other]")
    page.wait_for_function(
        "Array.from(melformer.timeline.marks.values()).flat().filter((name) => name === 'other').length"
    )
    assert stream.config.draws == (0, 2, 1)
    page.click("[data-act=stop]")
    wait_idle(page)
    assert len(server.model.streams) == n_streams and len(page.evaluate("melformer.state.view.takes")) == 1
    page.click("[data-act=keep]")  # what is added goes on with those lines
    page.wait_for_function("melformer.state.run && melformer.state.run.costs.length")
    assert server.model.streams[-1].config.draws == (0, 2, 1)
    page.click("[data-act=stop]")
    wait_idle(page)


def test_at_variation_zero_a_new_line_is_no_wish_that_can_be_met(page: Any, server: Server) -> None:
    load(page, unit="endless")
    wait_lanes(page)
    page.evaluate("document.querySelector('#mf-variation').value = 0")
    page.click("[data-act=continue]")
    wait_new(page, 1)
    page.click("[data-vary=drums]")
    assert notice(page) == "At variation 0% every stem repeats the loop. Turn it up first."
    page.click("[data-act=stop]")
    wait_idle(page)


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


def test_a_loop_that_is_continued_at_once_has_its_lanes_as_soon_as_its_stems_are_there(
    browser: Any, loops: list[Path]
) -> None:
    """While the stream goes on, not only when it ends."""
    model = Model(compute_s=0.01, stems_held=True)
    with serving(model, loops[:1]) as server, visiting(browser, server) as page:
        load(page, unit="endless")
        page.click("[data-act=continue]")
        assert not page.evaluate("melformer.state.store.beats[0].stems")
        model.stems_held = False
        page.wait_for_function("melformer.state.store.nNew && melformer.state.store.beats.every((beat) => beat.stems)")
        assert page.evaluate("Boolean(melformer.state.run)")
        page.click("[data-act=stop]")
        wait_idle(page)


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


def colours_of(page: Any, beat: int, lane: int) -> tuple[str, int]:
    """Of a beat in a lane as it is drawn: its most frequent colour, and how many pixels have the background's."""
    code = """([k, lane]) => {
      const { timeline } = melformer, row = timeline.rows.lanes[lane], ratio = devicePixelRatio, counts = {};
      const canvas = timeline.column(k, timeline.beatWidth), top = Math.round(row.top * ratio);
      const { data } = canvas.getContext("2d").getImageData(0, top, canvas.width, Math.round(row.height * ratio));
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 255) continue;
        const colour = `rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`;
        counts[colour] = (counts[colour] || 0) + 1;
      }
      const probe = document.createElement("p");
      probe.style.color = timeline.colours.card;
      document.body.append(probe);
      const card = counts[getComputedStyle(probe).color] || 0;
      delete counts[getComputedStyle(probe).color];
      probe.remove();
      return [Object.entries(counts).sort((a, b) => b[1] - a[1])[0][0], card];
    }"""
    colour, background = page.evaluate(code, [beat, lane])
    return colour, background


def test_a_beat_has_the_colour_of_its_source_and_is_hatched_where_it_was_transposed(
    browser: Any, loops: list[Path]
) -> None:
    """And a take says which share of its beats is new."""
    with serving(Model(tells_sources=True), loops[:1]) as server, visiting(browser, server) as page:
        load(page)
        wait_lanes(page)
        page.click("[data-act=continue]")
        wait_new(page, 4)
        wait_idle(page)
        drums, bass = range(2)
        own = {beat: colours_of(page, beat, bass)[0] for beat in range(8)}
        assert len(set(own.values())) == 8
        assert colours_of(page, 8, bass) == (own[0], 0)
        colour, background = colours_of(page, 9, bass)
        assert colour == own[5] and background > 0
        assert colours_of(page, 9, drums) == (own[1], 0)
        assert "1 bar, 50% new" in page.inner_text("[data-result-facts]")
        assert "1 bar, 50% new" in page.inner_text("[data-take-list] li")


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
