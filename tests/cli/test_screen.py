"""What is drawn on a terminal, and what is not drawn elsewhere."""

import io

import pytest

from server.cli.screen import Screen, bar, clock, fitted
from server.cli.target import Unread


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_caption_grows_in_its_line_and_the_final_one_stays():
    screen = Screen(out := Terminal())
    for text in ("hello", "hello wor"):
        screen.draw(text)
    screen.say("Hello world.")
    screen.clear()
    assert out.getvalue() == "\r\x1b[Khello\r\x1b[Khello wor\r\x1b[KHello world.\n"


def test_elsewhere_only_what_is_final_is_written():
    screen = Screen(out := io.StringIO())
    screen.draw("hello")
    screen.say("Hello world.")
    assert out.getvalue() == "Hello world.\n"


def test_what_was_said_cannot_give_orders_to_the_terminal():
    screen = Screen(out := Terminal())
    screen.say("a\x1b]0;title\x07b\nc")
    assert out.getvalue() == "a ]0;title b c\n"


def test_of_a_long_caption_the_end_is_shown():
    assert fitted("0123456789", 4) == "6789" and fitted("01", 4) == "01"
    assert fitted("你好世界", 5) == "世界"  # each is as wide as two


def test_a_bar_and_a_clock():
    assert bar(0.5).count("#") == 15 and bar(-1).count("#") == 0 and bar(7).count(".") == 0
    assert (clock(9.9), clock(75), clock(3723)) == ("0:09", "1:15", "1:02:03")


def test_a_reader_who_left_is_told_apart_from_a_line_that_broke():
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(Unread):
        Screen(Closed()).say("Hello.")
