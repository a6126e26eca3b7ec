"""The page in a real Chromium, with a real voice in its microphone, against the real server."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers.chromium import chromium
from process import running_server
from visitor import FEW_ERRORS, PHONE, Visit, expect, visitor, wait_for_clock, wait_for_state, word_error_rate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

KEY = "a-key-of-the-tests"


def test_speech_grows_into_captions_and_ends_as_a_text_file(visit: Visit) -> None:
    page = visit(permissions=["microphone", "clipboard-read", "clipboard-write"])
    page.evaluate(
        """() => {
          window.grown = [];
          const note = () => window.grown.push(document.querySelector("#partials").textContent);
          new MutationObserver(note).observe(document.querySelector("#partials"),
            { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.focus("#button")
    page.keyboard.press("Space")
    wait_for_state(page, "listening")
    expect(page.locator("#engine")).to_contain_text("moonshine")
    expect(page.locator("#partials .unstable:not(:empty)").first).to_be_visible()
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    page.keyboard.press("Enter")
    wait_for_state(page, "done")

    grown = [text for text in dict.fromkeys(page.evaluate("window.grown")) if text]
    assert len(grown) >= 3
    assert page.locator("#partials p").count() == 0
    assert word_error_rate(page) <= FEW_ERRORS
    expect(page.locator("#state")).to_have_text("Done")
    expect(page.locator("#engine")).to_have_text("moonshine tiny-en")  # free: nothing about seconds and money

    lines = page.locator("#finals p").all_inner_texts()
    page.click("#download")
    with page.expect_download() as download:
        page.get_by_role("button", name="Text", exact=True).click()
    assert download.value.suggested_filename.endswith(".txt")
    assert Path(download.value.path()).read_text().split("\n") == [*lines, ""]
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").split() == "\n".join(lines).split()


def test_without_websocket_the_recording_is_posted_and_fits_on_a_phone(visit: Visit) -> None:
    page = visit(init="delete window.WebSocket", viewport=PHONE)
    page.click("#button")
    wait_for_state(page, "recording")
    expect(page.locator("#notice")).to_contain_text("your text comes when you stop")
    wait_for_clock(page, 9)  # behind the whole sentence
    page.click("#button")
    wait_for_state(page, "done")
    expect(page.locator("#finals")).to_contain_text("worst of times", ignore_case=True)
    expect(page.locator("#notice")).to_be_hidden()
    assert_nothing_is_wider_than_the_screen(page)


def without_ticket(message: str) -> str:
    """What a server says that cannot go on with a session."""
    told = json.loads(message)
    told.pop("ack", None)
    told.get("limits", {}).pop("resume_s", None)
    return json.dumps(told if told["type"] != "ack" else {"type": "unknown"})


def test_a_socket_that_dies_without_a_ticket_is_told_and_loses_no_word(visit: Visit) -> None:
    def dies_at_the_first_partial(route: "WebSocketRoute") -> None:
        upstream = route.connect_to_server()

        def heard(message: str | bytes) -> None:
            route.send(without_ticket(str(message)))
            if '"partial"' in str(message):
                route.close(code=1011)
                upstream.close()

        upstream.on_message(heard)

    page = visit(prepare=lambda page: page.route_web_socket("**/api/captions*", dies_at_the_first_partial))
    page.click("#button")
    wait_for_state(page, "recording")
    expect(page.locator("#notice")).to_contain_text("I am still recording")
    expect(page.locator("#partials")).not_to_be_empty()
    # Behind the whole sentence: of one that is cut at any word the embedded engine may make a loop, which is dropped.
    wait_for_clock(page, 9)
    page.click("#button")
    wait_for_state(page, "done")
    expect(page.locator("#finals")).to_contain_text("worst of times", ignore_case=True)


def test_a_line_that_breaks_in_mid_sentence_goes_on_and_every_word_is_there_once(visit: Visit) -> None:
    routes: list[WebSocketRoute] = []

    def breaks_at_the_first_partial(route: "WebSocketRoute") -> None:
        routes.append(route)
        upstream = route.connect_to_server()

        def heard(message: str | bytes) -> None:
            route.send(message)
            if '"partial"' in str(message) and len(routes) == 1:
                route.close(code=1011)
                upstream.close()

        upstream.on_message(heard)

    page = visit(prepare=lambda page: page.route_web_socket("**/api/captions*", breaks_at_the_first_partial))
    page.click("#button")
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    page.click("#button")
    wait_for_state(page, "done")
    assert len(routes) == 2
    assert word_error_rate(page) <= FEW_ERRORS


def test_while_the_line_is_down_the_page_says_so_and_then_catches_up(visit: Visit) -> None:
    ready = '{"type":"ready","session":"s_1","room":"s_1","engine":"scripted","recording":0,"limits":{}}'
    ack = '"recording":0,"bytes":0,"header":0,"ticket":"t_1"'
    final = '{"type":"final","offset":1,"utterance":1,"start":0,"end":1,"text":"It was.","words":[]}'
    routes: list[WebSocketRoute] = []
    down = True

    def server(route: "WebSocketRoute") -> None:
        def said(message: str | bytes) -> None:
            if '"resume"' in str(message):
                assert '"t_1"' in str(message)
                route.send(f'{{"type":"resumed","session":"s_1",{ack},"offset":0,"generation":2}}')
                route.send(final)

        routes.append(route)
        if len(routes) > 1 and down:
            route.close(code=1012)
            return
        route.on_message(said)
        if len(routes) == 1:
            route.send(ready)
            route.send(f'{{"type":"ack",{ack}}}')

    page = visit(prepare=lambda page: page.route_web_socket("**/api/captions*", server))
    page.click("#button")
    wait_for_state(page, "listening")
    wait_for_clock(page, 1)
    routes[0].close(code=1012)
    wait_for_state(page, "offline")
    expect(page.locator("#state")).to_have_text("Still recording")
    expect(page.locator("#clock")).to_have_text(re.compile(r"^([2-9]|1\d) s waiting$"))
    expect(page.locator("#notice")).to_contain_text("the captions will catch up")
    down = False
    wait_for_state(page, "listening")
    expect(page.locator("#finals")).to_have_text("It was.")
    expect(page.locator("#notice")).to_be_hidden()
    assert len(routes) > 3


def engine_is(**about: object) -> "Callable[[Page], None]":
    """Another engine, as far as the page can know before somebody speaks."""
    return lambda page: page.route("**/readyz", lambda route: route.fulfill(json={"status": "ready", **about}))


def test_the_only_language_is_told_and_no_choice(visit: Visit) -> None:
    page = visit()
    expect(page.locator("#only-language")).to_have_text("Language: English")
    expect(page.locator("#language")).to_be_hidden()


def test_only_languages_the_engine_knows_are_offered(visit: Visit) -> None:
    page = visit(prepare=engine_is(languages=["de", "en", "haw"], paid=False))
    assert page.locator("#language option").all_inner_texts() == ["Auto-detect", "Deutsch", "English"]
    expect(page.locator("#only-language")).to_be_hidden()


def test_what_a_paid_engine_was_sent_is_told_at_the_end(visit: Visit) -> None:
    page = visit(prepare=engine_is(languages=None, paid=True))
    page.click("#button")
    wait_for_clock(page, 2)
    page.click("#button")
    wait_for_state(page, "done")
    expect(page.locator("#engine")).to_have_text(re.compile(r"^0:0\d recorded, 0:0\d billed$"))


@pytest.mark.parametrize("init", ["", "delete window.WebSocket"], ids=["live", "posted"])
def test_a_language_the_engine_does_not_know_is_told_with_what_to_do(visit: Visit, init: str) -> None:
    page = visit(init=init, prepare=engine_is(languages=None, paid=False))  # the server was restarted with another one
    page.select_option("#language", "de")
    page.click("#button")
    if init:
        wait_for_clock(page, 1)
        page.click("#button")
    wait_for_state(page, "trouble")
    expect(page.locator("#notice")).to_contain_text("Choose another language, then try again.")
    expect(page.locator("#resend")).to_be_hidden()


def slow_engine(page: "Page") -> "list[WebSocketRoute]":
    """The clock is the test's, and after stop the first connection hears only what the test says to it."""
    routes: list[WebSocketRoute] = []

    def until_stop(route: "WebSocketRoute") -> None:
        routes.append(route)
        upstream = route.connect_to_server()
        first, stopped = len(routes) == 1, False

        def said(message: str | bytes) -> None:
            nonlocal stopped
            stopped = stopped or (first and '"stop"' in str(message))
            if not stopped:
                upstream.send(message)

        route.on_message(said)
        upstream.on_message(lambda told: None if stopped else route.send(told))

    page.clock.install()
    page.route_web_socket("**/api/captions*", until_stop)
    return routes


def speak_and_stop(page: "Page") -> None:
    page.click("#button")
    expect(page.locator("#captions")).to_contain_text("of times")
    page.click("#button")
    wait_for_state(page, "finishing")
    page.clock.run_for(4_000)
    wait_for_state(page, "waiting")


def test_a_slow_engine_is_waited_for_as_long_as_the_server_says_anything(visit: Visit) -> None:
    servers: list[list[WebSocketRoute]] = []
    page = visit(prepare=lambda page: servers.append(slow_engine(page)))
    speak_and_stop(page)
    server = servers[0][0]
    expect(page.locator("#state")).to_have_text("Waiting for the engine")
    for lag_s in range(20, 380, 20):
        page.clock.run_for(20_000)
        server.send(json.dumps({"type": "warning", "code": "engine.delayed", "message": "slow", "lag_s": lag_s}))
        expect(page.locator("#notice")).to_be_hidden()
    wait_for_state(page, "waiting")
    server.send('{"type":"final","offset":1,"utterance":1,"start":0,"end":1,"text":"It was.","words":[]}')
    server.send('{"type":"done","audio_s":1,"spoken_s":1,"billed_s":1,"finals":1}')
    wait_for_state(page, "done")
    expect(page.locator("#finals")).to_contain_text("It was.")


def test_a_server_that_falls_silent_after_stop_is_come_back_to(visit: Visit) -> None:
    connections: list[list[WebSocketRoute]] = []
    page = visit(prepare=lambda page: connections.append(slow_engine(page)))
    speak_and_stop(page)
    page.clock.run_for(20_000)  # real time passes besides, on a busy machine seconds of it
    assert len(connections[0]) == 1
    page.clock.run_for(7_000)
    page.clock.resume()
    wait_for_state(page, "done")  # without words: only a real socket keeps text behind the sound before it
    assert len(connections[0]) == 2


def test_who_stops_waiting_keeps_the_words_and_may_send_the_recording(visit: Visit) -> None:
    page = visit(prepare=slow_engine)
    speak_and_stop(page)
    expect(page.locator("#button")).to_have_text("Stop waiting")
    page.click("#button")
    wait_for_state(page, "trouble")
    expect(page.locator("#finals")).not_to_be_empty()
    expect(page.locator("#notice")).to_contain_text("The last words did not come")
    page.click("#resend")
    wait_for_state(page, "done")


def test_captions_that_run_late_are_told_until_they_do_not(visit: Visit) -> None:
    routes: list[WebSocketRoute] = []

    def keep(route: "WebSocketRoute") -> None:
        route.connect_to_server()
        routes.append(route)

    page = visit(prepare=lambda page: page.route_web_socket("**/api/captions*", keep))
    page.click("#button")
    wait_for_state(page, "listening")
    late = '{"type":"warning","code":"engine.delayed","message":"…","lag_s":%s}'
    routes[0].send(late % 2.5)
    expect(page.locator("#notice")).to_contain_text("running late")
    routes[0].send(late % 0)
    expect(page.locator("#notice")).to_be_hidden()


def test_a_denied_microphone_is_told_with_what_to_do(speaking: "Browser", server: str) -> None:
    with chromium(None, microphone="deny", beside=speaking) as browser, visitor(browser, server) as visit:
        page = visit()
        page.focus("#button")
        page.keyboard.press("Enter")
        wait_for_state(page, "trouble")
        expect(page.locator("#notice")).to_contain_text("allow the microphone, then try again")
        expect(page.locator("#button")).to_have_text("Try again")
        expect(page.locator("#button")).to_be_focused()


def test_where_keys_are_set_the_link_with_a_token_opens_the_page(speaking: "Browser") -> None:
    with running_server(SOTTO_ENGINE="moonshine", SOTTO_API_KEYS=KEY) as url, visitor(speaking, url) as visit:
        page = visit()
        page.click("#button")
        wait_for_state(page, "trouble")
        expect(page.locator("#notice")).to_contain_text("Open the whole link")
        answer = page.request.post(f"{url}/api/tokens", headers={"Authorization": f"Bearer {KEY}"})
        page.goto(f"{url}/#token={answer.json()['token']}")
        page.click("#button")
        wait_for_state(page, "listening")
        page.click("#button")
        wait_for_state(page, "done")


def test_only_finals_are_read_aloud_and_the_button_is_reached_by_keyboard(visit: Visit) -> None:
    page = visit(viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    assert page.eval_on_selector_all("[aria-live]", "found => found.map((one) => one.id)") == ["finals"]
    assert page.locator("#finals #partials, #partials #finals").count() == 0
    assert page.get_by_role("status").text_content() == "Ready"  # the state, without the clock
    expect(page.locator("#only-language")).to_be_visible()
    for _ in range(4):  # how to read, captions, sound from, button
        page.keyboard.press("Tab")
    expect(page.locator("#button")).to_be_focused()
    assert_nothing_is_wider_than_the_screen(page)


def test_the_end_is_followed_only_while_the_reader_is_there(visit: Visit) -> None:
    at_first, after_reading_back, after_the_button = visit(viewport=PHONE).evaluate(
        """async () => {
          const { CaptionsView } = await import("/static/captions_view.js");
          const { EMPTY, reduce } = await import("/static/captions/transcript.js");
          const find = (id) => document.getElementById(id);
          const scroller = find("captions");
          const view = new CaptionsView(
            { scroller, finals: find("finals"), partials: find("partials"), newest: find("newest") });
          const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          const say = async (count) => {
            for (let i = 0; i < count; i++) {
              said = reduce(said, { type: "final", utterance: said.lines.length, text: "It was the best of times." });
            }
            view.render(said);
            await frames();
            return Math.round(scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop);
          };
          let said = EMPTY;
          const away = [await say(60)];
          scroller.scrollTop = 0;
          await frames();
          await say(20);
          away.push(scroller.scrollTop);
          find("newest").click();
          away.push(await say(20));
          return away;
        }"""
    )
    assert (at_first, after_reading_back, after_the_button) == (0, 0, 0)


def test_a_session_that_follows_another_hides_none_of_its_lines(visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """async () => {
          const { CaptionsView } = await import("/static/captions_view.js");
          const { EMPTY, reduce } = await import("/static/captions/transcript.js");
          const find = (id) => document.getElementById(id);
          const view = new CaptionsView({ scroller: find("captions"), finals: find("finals"),
            partials: find("partials"), newest: find("newest") });
          const said = (text) => ({ type: "final", utterance: 1, offset: 1, start: 0, end: 1, text, words: [] });
          view.render([{ type: "take" }, said("One."), { type: "anew" }, said("Two.")].reduce(reduce, EMPTY));
        }"""
    )
    assert page.locator("#finals p").all_inner_texts() == ["One.", "Two."]


def test_a_late_partial_never_replaces_a_final_on_the_page(visit: Visit) -> None:
    shown = visit().evaluate(
        """async () => {
          const { EMPTY, asText, reduce } = await import("/static/captions/transcript.js");
          return asText([
            { type: "take" },
            { type: "partial", utterance: 1, text: "hello wor", stable: 6 },
            { type: "partial", utterance: 2, text: "and", stable: 0 },
            { type: "final", utterance: 1, text: "Hello world." },
            { type: "partial", utterance: 1, text: "yellow", stable: 0 },
          ].reduce(reduce, EMPTY));
        }"""
    )
    assert shown == "Hello world.\nand\n"


def test_stable_counts_characters_as_the_server_does(visit: Visit) -> None:
    settled, unstable = visit().evaluate(
        """async () => {
          const { parts } = await import("/static/captions/transcript.js");
          return parts({ final: false, text: "𝄞 piano forte", stable: 7 });
        }"""
    )
    assert (settled, unstable) == ("𝄞 piano", " forte")


def test_an_empty_transcript_of_the_whole_recording_takes_nothing_away(visit: Visit) -> None:
    shown = visit().evaluate(
        """async () => {
          const { EMPTY, asText, reduce } = await import("/static/captions/transcript.js");
          return asText([
            { type: "take" },
            { type: "partial", utterance: 1, text: "hello", stable: 0 },
            { type: "whole", finals: [] },
          ].reduce(reduce, EMPTY));
        }"""
    )
    assert shown == "hello\n"


@pytest.mark.parametrize(
    ("agent", "supported", "chosen"),
    [
        ("AppleWebKit/605 Version/26.0 Safari/605", ["audio/mp4", "audio/webm;codecs=opus"], ["audio/mp4", 1000]),
        (
            "AppleWebKit/537 Chrome/150 Safari/537",
            ["audio/mp4", "audio/webm;codecs=opus"],
            ["audio/webm;codecs=opus", 250],
        ),
        ("Gecko/20100101 Firefox/150", ["audio/ogg;codecs=opus"], ["audio/ogg;codecs=opus", 250]),
        ("Gecko/20100101 Firefox/150", [], ["", 250]),
    ],
)
def test_each_browser_records_what_it_records_well(
    visit: Visit, agent: str, supported: list[str], chosen: list[object]
) -> None:
    format_of = """async ([agent, supported]) => {
      const { chooseFormat } = await import("/static/captions/recorder.js");
      const { mimeType, timeslice } = chooseFormat({ isTypeSupported: (type) => supported.includes(type) }, agent);
      return [mimeType, timeslice];
    }"""
    assert visit().evaluate(format_of, [agent, supported]) == chosen


def assert_nothing_is_wider_than_the_screen(page: "Page") -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
