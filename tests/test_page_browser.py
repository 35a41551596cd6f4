"""The page in a real browser: what a visitor does, and what goes wrong for one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_double import Model, loop_samples
from page_server import Server, browsing, open_page, serving

from melformer.audio.wav import write_waveform


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("examples")
    write_waveform(folder / "click_200bpm.wav", loop_samples(8, 200.0), bpm=200)
    (folder / "words.wav").write_text("This is no sound.")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def server(loops: list[Path]) -> Iterator[Server]:
    with serving(Model(compute_s=0.01), loops[:1]) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    server.model.compute_s = 0.01
    page = open_page(browser, server.url)
    yield page
    assert page.faults == []
    assert page.left == []  # nothing is ever fetched from another machine
    page.context.close()


def load(page: Any, n_beats: int = 4, unit: str = "beats") -> None:
    page.get_by_role("button", name="Click 200").click()
    page.wait_for_selector("[data-act=continue]:enabled")
    page.click("summary:has-text('More settings')")
    page.select_option("#mf-lead", "bar")
    if unit != "endless":
        page.fill("#mf-count", str(n_beats))
    page.select_option("[data-unit]", unit)


def wait_new(page: Any, n_beats: int) -> None:
    page.wait_for_function(f"melformer.state.store.nNew >= {n_beats}")


def wait_idle(page: Any) -> None:
    page.wait_for_function("!melformer.state.run && !melformer.player.playing")


def wait_until(condition: Any, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_a_file_of_the_wrong_kind_gives_a_sentence(page: Any, loops: list[Path]) -> None:
    page.set_input_files("#mf-file", str(loops[1]))
    error = page.locator("[data-error]:not([hidden])")
    error.wait_for()
    assert error.inner_text().startswith("Words.wav") or "words.wav" in error.inner_text()
    assert "Traceback" not in page.content()
    load(page)  # the page still works
    assert not error.is_visible()


def test_stop_then_another_take(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 6)
    page.click("[data-act=stop]")
    wait_idle(page)
    page.wait_for_selector("[data-act=another]:enabled")
    made = page.evaluate("melformer.state.view.takes[0].n_beats")
    assert server.sessions.desk.n_playing == 0
    time.sleep(0.5)
    assert server.model.streams[-1].index == made  # no beat was made after the stop

    page.select_option("[data-unit]", "beats")
    page.click("[data-act=another]")
    wait_new(page, 1)
    page.wait_for_function("melformer.state.view.takes.length === 2 && !melformer.state.run")
    takes = page.evaluate("melformer.state.view.takes")
    assert [take["seed"] for take in takes] == [7, 8]
    assert takes[0]["n_beats"] == made
    page.click("[data-act=stop]")
    page.click("[data-act=undo]")
    page.wait_for_function("melformer.state.view.takes.length === 1")


def test_another_take_may_begin_while_one_plays(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 5)
    page.select_option("[data-unit]", "beats")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("r")
    page.wait_for_function("melformer.state.view.takes.length === 2 && !melformer.state.run")
    first, second = page.evaluate("melformer.state.view.takes")
    assert (first["seed"], second["seed"], second["n_beats"]) == (7, 8, 4)
    assert first["n_beats"] >= 5
    assert page.evaluate("melformer.state.store.take") == 2
    page.get_by_role("button", name="Play take 1").click()  # at once, and at the same place
    page.wait_for_function("melformer.player.playing && melformer.player.store.take === 1")
    page.click("[data-act=stop]")


def test_knobs_act_on_the_running_stream(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    page.evaluate(
        "const knob = document.querySelector('#mf-variation');"
        "knob.value = 0.9; knob.dispatchEvent(new Event('input'))"
    )
    page.wait_for_function("melformer.timeline.marks.size === 1")
    stream = server.model.streams[-1]
    assert stream.settings.variation == pytest.approx(0.9)
    assert page.evaluate("melformer.player.starved") == 0
    page.click("[data-act=stop]")
    wait_idle(page)


def test_a_reload_in_the_middle_frees_the_model_and_keeps_the_take(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 5)
    page.reload()
    page.wait_for_selector("[data-ready]")
    wait_until(lambda: server.sessions.desk.n_playing == 0)
    page.wait_for_selector("[data-act=keep]:enabled")
    before = page.evaluate("melformer.state.store.nNew")
    assert before >= 5
    page.select_option("[data-unit]", "beats")
    page.fill("#mf-count", "3")
    page.click("[data-act=keep]")
    wait_idle(page)
    assert page.evaluate("melformer.state.store.nNew") == before + 3


def test_messages_that_never_arrive_are_fetched(page: Any, server: Server) -> None:
    load(page, n_beats=8)
    page.click("[data-act=continue]")
    wait_new(page, 2)
    page.evaluate("melformer.state.run.run += 0.5")  # as if the connection broke: nothing is for this page any more
    page.wait_for_selector("[data-act=keep]:enabled")
    assert page.evaluate("melformer.state.store.nNew") == 8
    wait_idle(page)
    assert "connection was lost" in page.locator("[data-status]").inner_text()


def test_a_forgotten_page_begins_again(page: Any, server: Server) -> None:
    load(page)
    server.sessions.forget(page.evaluate("melformer.state.token"))
    page.click("[data-act=continue]")
    page.get_by_text("left alone for more than 30 minutes").wait_for()
    page.wait_for_selector("[data-stage]", state="hidden")
    page.get_by_role("button", name="Click 200").click()
    page.wait_for_selector("[data-act=continue]:enabled")


def test_a_visitor_who_leaves_frees_the_model_within_a_beat(browser: Any, server: Server) -> None:
    page = open_page(browser, server.url)
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 5)
    stream = server.model.streams[-1]
    page.context.close()
    left = stream.index
    wait_until(lambda: server.sessions.desk.n_playing == 0)
    assert stream.index <= left + 4  # 0.3 s a beat, and what was on its way


def test_a_second_visitor_waits_and_is_told_so(page: Any, browser: Any, server: Server) -> None:
    server.model.compute_s = 0.25  # nearly a beat's 0.3 s: the machine can serve one
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_until(lambda: (server.sessions.desk.beat_cost_s or 0) > 0.2, 15)
    second = open_page(browser, server.url)
    load(second)
    second.click("[data-act=continue]")
    second.wait_for_function("document.querySelector('[data-status]').textContent.includes('You are next')")
    assert server.sessions.desk.n_playing == 1
    page.click("[data-act=stop]")
    wait_new(second, 1)
    server.model.compute_s = 0.01
    wait_idle(second)
    assert second.evaluate("melformer.state.view.takes.length") == 1
    assert page.evaluate("melformer.state.view.takes[0].seed") == 7
    second.context.close()


def test_a_slow_machine_starts_later_and_does_not_break(page: Any, server: Server) -> None:
    desk = server.sessions.desk
    server.model.compute_s = 0.5  # a beat lasts 0.3 s
    for _ in range(8):
        desk.note_cost(0.5)
    load(page, n_beats=5)
    page.click("[data-act=continue]")
    page.get_by_text("playing starts in").wait_for()
    page.wait_for_function("melformer.player.playing")
    wait_idle(page)
    assert page.evaluate("melformer.player.starved") == 0
    assert page.evaluate("melformer.player.at") == (8 + 5) * 13_230
    for _ in range(8):
        desk.note_cost(0.01)


def test_a_machine_that_falls_behind_pauses_once_and_says_so(page: Any, server: Server) -> None:
    load(page, n_beats=8)
    server.sessions.desk.note_cost(0.01)
    page.click("[data-act=continue]")
    wait_new(page, 4)
    server.model.streams[-1].compute_s = 1.0  # from now on, a beat of 0.3 s takes three times as long
    page.get_by_text("the machine fell behind").wait_for()
    wait_idle(page)
    assert page.evaluate("melformer.player.at") == 16 * 13_230  # nothing was dropped


def test_a_phone_shows_everything_without_sideways_scrolling(browser: Any, server: Server) -> None:
    phone = {"viewport": {"width": 375, "height": 720}, "has_touch": True, "color_scheme": "dark"}
    page = open_page(browser, server.url, **phone)
    load(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    small = page.evaluate(
        """Array.from(document.querySelectorAll('.mf button, .mf select, .mf input, .mf summary'))
           .filter((one) => one.offsetParent && one.type !== 'checkbox' && !one.classList.contains('mf-file'))
           .filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.textContent || one.id)"""
    )
    assert small == []
    assert page.faults == []
    page.context.close()


def test_codebooks_can_be_heard_and_rewritten(page: Any) -> None:
    load(page)
    page.click("#mf-tab-codes")
    page.wait_for_selector("[data-usage] li")
    assert page.locator("[data-usage] li").count() == 12
    page.click("[data-act=decode]")
    page.get_by_text("Decoded from 1 codebook of 12").first.wait_for()
    beats = page.locator("[data-beats] button")
    beats.nth(0).click()
    beats.nth(2).click()
    page.click("[data-edit=swap]")
    assert beats.nth(0).get_attribute("aria-label").startswith("Beat 1, tokens of beat 3")
    page.click("[data-act=edited]")
    page.get_by_text("Decoded from the rewritten tokens").first.wait_for()


def test_the_keyboard_plays_crops_and_saves(page: Any) -> None:
    load(page)
    page.focus("[data-handle=last]")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Crop to bar 1").click()
    page.wait_for_function("melformer.state.loop.n_beats === 4")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    wait_new(page, 4)
    wait_idle(page)
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "click_200bpm_8beats_seed7.wav"
