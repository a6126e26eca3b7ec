"""Three real browsers behind one small interface (tab.py): each has its own profile, and ends with its block."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from .chromium import chromium_tab
from .firefox import firefox_tab
from .tab import Tab
from .webkit import webkit_tab

BROWSERS: dict[str, Callable[[], AbstractContextManager[Tab]]] = {
    "chromium": chromium_tab,
    "firefox": firefox_tab,
    "webkit": webkit_tab,
}
