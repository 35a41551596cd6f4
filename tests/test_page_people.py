"""The page in a real browser when things do not go smoothly: others, reloads, lost lines, slow machines."""

from pathlib import Path
from typing import Any

from page_double import Model
from page_moves import load, note_status, wait_idle, wait_new, wait_said, wait_until
from page_server import Server, open_page, serving

BEAT = 13_230  # samples at 200 BPM


def test_the_browser_is_cut_off_from_the_network(page: Any, server: Server) -> None:
    """So what all these tests show is shown without one: even a name for this machine leads nowhere."""
    reach = "(url) => fetch(url, { mode: 'no-cors' }).then(() => true, () => false)"
    assert page.evaluate(reach, server.url)
    assert not page.evaluate(reach, server.url.replace("127.0.0.1", "localhost"))
    page.left.clear()


def test_a_reload_in_the_middle_frees_the_model_and_keeps_the_take(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 5)
    page.reload()
    page.wait_for_selector("[data-ready]")
    wait_until(lambda: server.sessions.scheduler.n_playing == 0)
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
    server.model.held_at = 2
    page.click("[data-act=continue]")
    wait_new(page, 2)
    page.evaluate("melformer.state.run.run += 0.5")  # as if the connection broke: nothing is for this page any more
    server.model.held_at = None
    page.wait_for_selector("[data-act=keep]:enabled")
    assert page.evaluate("melformer.state.store.nNew") == 8
    wait_idle(page)
    assert "connection dropped" in page.locator("[data-status]").inner_text()


def test_a_forgotten_page_begins_again(page: Any, server: Server) -> None:
    load(page)
    server.sessions.forget(page.evaluate("melformer.state.token"))
    page.click("[data-act=continue]")
    page.get_by_text("Session expired after 30 minutes").first.wait_for()
    page.wait_for_selector("[data-stage]", state="hidden")
    page.get_by_role("button", name="Click 200").click()
    page.wait_for_selector("[data-act=continue]:enabled")


def test_a_visitor_who_leaves_frees_the_model(browser: Any, server: Server) -> None:
    page = open_page(browser, server.url)
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 5)
    stream = server.model.streams[-1]
    page.context.close()
    wait_until(lambda: server.sessions.scheduler.n_playing == 0)
    assert stream.index < server.sessions.limits.endless_beats  # it would have gone on


def test_a_second_visitor_waits_and_hears_the_own_loop_meanwhile(browser: Any, loops: list[Path]) -> None:
    with serving(Model(), loops[:1], players=1, shared_beats=100_000) as server:
        first, second = (open_page(browser, server.url) for _ in range(2))
        load(first, unit="endless")
        first.click("[data-act=continue]")
        wait_new(first, 1)
        load(second)
        second.click("[data-act=continue]")
        second.get_by_text("You're next").first.wait_for()
        second.wait_for_function(f"melformer.player.playing && melformer.player.played > 3 * 4 * {BEAT}")  # round
        assert second.evaluate("melformer.state.run.started") is False
        assert server.sessions.scheduler.n_playing == 1
        first.click("[data-act=stop]")
        wait_new(second, 4)
        second.wait_for_function(f"melformer.player.at > 8 * {BEAT}")  # and from there into the new part
        wait_idle(second)
        assert second.evaluate("melformer.state.view.takes.length") == 1
        assert first.evaluate("melformer.state.view.takes[0].seed") == 7
        for page in (first, second):
            assert page.faults == []
            page.context.close()


def test_a_slow_machine_starts_later(page: Any, server: Server) -> None:
    """A beat lasts 0.3 s and takes 0.5 s to make: of 5 the last is due 2.4 s after the lead-in's start, a bar."""
    scheduler = server.sessions.scheduler
    server.model.told_s = 0.5
    for _ in range(8):
        scheduler.note_cost(0.5)
    load(page, n_beats=5)
    note_status(page)
    page.click("[data-act=continue]")
    wait_said(page, "Buffering 0.4 s so it won't stutter")  # 5 × 0.5 − 4 × 0.3 − 1.2 s, and 0.3 s to spare
    page.wait_for_function(f"melformer.player.at === {(8 + 5) * BEAT}")
    for _ in range(8):
        scheduler.note_cost(0.01)


def test_a_machine_that_falls_behind_pauses_once_and_says_so(page: Any, server: Server) -> None:
    load(page, n_beats=8)
    server.model.held_at = 4
    note_status(page)
    page.click("[data-act=continue]")
    wait_said(page, "Buffering…")
    server.model.held_at = None
    wait_idle(page)
    assert page.evaluate("melformer.player.at") == 16 * BEAT  # nothing was dropped


def test_a_tab_opened_from_another_has_a_session_of_its_own(page: Any, server: Server) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    with page.context.expect_page() as opened:  # `window.open` copies the session storage, token and all
        page.evaluate("window.open(location.href)")
    other = opened.value
    other.wait_for_selector("[data-ready]")
    assert other.evaluate("melformer.state.token") != page.evaluate("melformer.state.token")
    before = page.evaluate("melformer.state.store.nNew")
    wait_new(page, before + 4)  # the first one plays on
    assert page.evaluate("melformer.state.run !== null")
    page.click("[data-act=stop]")
    wait_idle(page)
    other.close()
