"""The page in a real browser: what a visitor does with a loop and its takes."""

from pathlib import Path
from typing import Any

import pytest
from page_moves import load, notice, open_engine, wait_idle, wait_new, wait_until
from page_server import PATIENCE_MS, Server


def test_a_file_of_the_wrong_kind_gives_a_sentence(page: Any, loops: list[Path]) -> None:
    page.set_input_files("#mf-file", str(loops[1]))
    assert notice(page).startswith("words.wav")
    assert "Traceback" not in page.content()
    load(page)  # the page still works
    assert not page.is_visible("[data-notice]")


def press_stop(page: Any) -> None:
    """Also where a short take has just ended by itself, and the button with it."""
    page.evaluate("document.querySelector('[data-act=stop]').click()")


def test_stop_then_another_take(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 6)
    page.click("[data-act=stop]")
    wait_idle(page)
    page.wait_for_selector("[data-act=another]:enabled")
    made = page.evaluate("melformer.state.view.takes[0].n_beats")
    wait_until(lambda: server.sessions.scheduler.n_playing == 0)
    assert server.model.streams[-1].index == made  # no beat was made after the stop

    page.select_option("[data-unit]", "beats")
    page.click("[data-act=another]")
    wait_new(page, 1)
    page.wait_for_function("melformer.state.view.takes.length === 2 && !melformer.state.run")
    takes = page.evaluate("melformer.state.view.takes")
    assert [take["seed"] for take in takes] == [7, 8]
    assert takes[0]["n_beats"] == made
    press_stop(page)
    page.click("[data-act=undo]")
    page.wait_for_function("melformer.state.view.takes.length === 1")


def test_a_take_is_whole_when_all_its_messages_come_at_once(page: Any) -> None:
    """The page then sees only the last of them, and asks for the beats."""
    load(page)
    page.route("**/queue/data**", lambda route: route.fulfill(response=route.fetch(timeout=PATIENCE_MS)))
    page.click("[data-act=continue]")
    page.wait_for_function("melformer.state.view.takes.length === 1 && !melformer.state.run")
    assert page.evaluate("[melformer.state.store.take, melformer.state.store.nNew]") == [1, 4]
    page.wait_for_selector("[data-result]:not([hidden])")
    page.wait_for_function("melformer.player.store === melformer.state.store")  # and it is heard


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
    press_stop(page)


def test_knobs_act_on_the_running_stream(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    page.evaluate(
        "const knob = document.querySelector('#mf-variation');knob.value = 0.9; knob.dispatchEvent(new Event('input'))"
    )
    page.wait_for_function("melformer.timeline.marks.size === 1")
    stream = server.model.streams[-1]
    assert stream.config.variation == pytest.approx(0.9)
    page.click("[data-act=stop]")
    wait_idle(page)


def test_stems_are_kept_and_rests_asked_for_while_they_play(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    open_engine(page)
    page.fill("#mf-density", "0.5")
    page.wait_for_function("melformer.timeline.marks.size === 1")
    assert server.model.streams[-1].config.density == 0.5
    page.click("[data-lane=drums] [aria-label='Keep drums']")
    page.wait_for_function("melformer.timeline.marks.size === 2")
    assert server.model.streams[-1].config.keep == ("drums",)
    page.click("[data-act=stop]")
    wait_idle(page)
