"""Files that are opened on the page, and files that are saved from it, in a real Chromium."""

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spoken import spoken_wav
from visitor import FEW_ERRORS, Visit, expect, wait_for_state, word_error_rate

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

CUE = re.compile(r"(\d\d):(\d\d):(\d\d)[,.](\d{3})")
DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  const told = { bubbles: true, cancelable: true, dataTransfer };
  const over = new DragEvent("dragover", told);
  document.body.dispatchEvent(over);
  const shown = getComputedStyle(document.querySelector("#drop")).display;
  const drop = new DragEvent("drop", told);
  document.body.dispatchEvent(drop);
  return [shown, over.defaultPrevented && drop.defaultPrevented];
}"""


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return spoken_wav(tmp_path).rename(tmp_path / "my talk.wav")


def drop(page: "Page", file: Path) -> tuple[str, bool]:
    """What lay over the page meanwhile (CSS display), and whether the browser was kept from opening the file."""
    shown, kept = page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])
    return shown, kept


def save(page: "Page", form: str) -> tuple[str, str]:
    """The name and the text of a download."""
    page.click("#download")
    with page.expect_download() as download:
        page.locator("#download-menu").get_by_role("button", name=form).click()
    expect(page.locator("#download-menu")).to_be_hidden()
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def test_a_file_that_is_opened_becomes_captions_and_these_are_saved_in_four_forms(visit: Visit, talk: Path) -> None:
    page = visit()
    with page.expect_file_chooser() as chooser:
        page.click("#open")
    chooser.value.set_files(talk)
    wait_for_state(page, "done")
    assert word_error_rate(page) <= FEW_ERRORS
    expect(page.locator("#engine")).to_have_text("my talk.wav")
    saved = dict(save(page, form) for form in ("Text", "SRT", "WebVTT", "JSON"))
    assert list(saved) == ["my talk.txt", "my talk.srt", "my talk.vtt", "my talk.json"]
    lines = page.locator("#finals p").all_inner_texts()
    assert saved["my talk.txt"].splitlines() == lines
    for name in ("my talk.srt", "my talk.vtt"):
        times = [3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000 for h, m, s, ms in CUE.findall(saved[name])]
        assert times == sorted(times) and 0 <= times[0] and times[-1] <= 12 and len(times) >= 4
        assert max(map(len, saved[name].splitlines())) <= 42
    told = json.loads(saved["my talk.json"])
    assert [segment["text"] for segment in told["segments"]] == lines and told["transcript"] == " ".join(lines)


def test_a_file_is_dropped_on_the_page_but_not_while_somebody_speaks(visit: Visit, talk: Path) -> None:
    page = visit()
    page.click("#button")
    wait_for_state(page, "listening")
    assert drop(page, talk) == ("none", True)
    wait_for_state(page, "listening")
    expect(page.locator("#finals")).to_contain_text("foolishness", ignore_case=True)
    page.click("#button")
    wait_for_state(page, "done")

    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    drop(page, talk)
    assert "clears the captions" in asked[0]
    wait_for_state(page, "done")
    page.once("dialog", lambda dialog: dialog.accept())
    assert drop(page, talk) == ("grid", True)
    expect(page.locator("#engine")).to_have_text("my talk.wav")
    wait_for_state(page, "done")
    assert word_error_rate(page) <= FEW_ERRORS  # and nothing of what was there before


def test_what_is_no_recording_is_told(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    (tmp_path / "notes.txt").write_text("It was the best of times.")
    page.set_input_files("#file", tmp_path / "notes.txt")
    wait_for_state(page, "trouble")
    expect(page.locator("#notice")).to_contain_text("The server cannot read this file. It takes WebM")
    expect(page.locator("#save")).to_be_hidden()


def test_a_file_under_way_is_told_read_and_cancelled(visit: Visit, talk: Path) -> None:
    routes: list[Route] = []
    page = visit(prepare=lambda page: page.route("**/api/transcribe", lambda route: routes.append(route)))
    page.set_input_files("#file", talk)
    wait_for_state(page, "uploading")
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#open")).to_be_disabled()
    expect(page.locator("#button")).to_have_text("Cancel")
    with page.expect_event("requestfailed"):
        page.click("#button")
    wait_for_state(page, "idle")
    expect(page.locator("#progress")).to_be_hidden()
    assert len(routes) == 1


def test_a_file_that_did_not_go_through_is_sent_again(visit: Visit, talk: Path) -> None:
    final = {"type": "final", "utterance": 1, "start": 0, "end": 1, "text": "It was.", "words": [], "language": "en"}
    tries: list[str] = []

    def breaks_off_at_first(route: "Route") -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            route.fulfill(body=f"data: {json.dumps(final)}\n\n", content_type="text/event-stream")
        else:
            route.continue_()

    page = visit(prepare=lambda page: page.route("**/api/transcribe", breaks_off_at_first))
    page.set_input_files("#file", talk)
    wait_for_state(page, "trouble")
    expect(page.locator("#finals")).to_have_text("It was.")
    page.click("#resend")
    wait_for_state(page, "done")
    assert word_error_rate(page) <= FEW_ERRORS
