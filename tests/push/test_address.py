"""Where a client may send the server."""

import pytest

from server.push.address import allowed, with_query

HOSTS = ["zoom.us", "youtube.com"]


@pytest.mark.parametrize(
    "url",
    [
        "https://wmcc.zoom.us/closedcaption?id=1&signature=x",
        "https://zoom.us/closedcaption",
        "http://upload.youtube.com/closedcaption?cid=1",
        "https://WMCC.ZOOM.US:443/closedcaption",
        "https://xn--mnchen-3ya.zoom.us/closedcaption",
        "https://zoom.us./closedcaption",
    ],
)
def test_hosts_that_are_named_and_those_below_them_may_be_told(url):
    assert allowed(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "https://evilzoom.us/",
        "https://zoom.us.evil.example/",
        "https://zoom.us@evil.example/",
        "https://evil.example\\@zoom.us/",
        "https://evil.example/?zoom.us",
        "ftp://zoom.us/",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "https://zoom.us:99999/",
        "https://[zoom.us/",
        "https://zoom.us/\r\nHost: evil.example",
        "https://xn--...zoom.us/",
        "https://a<b.zoom.us/",
        "https://zoom.us:-1/",
        "//zoom.us/",
        "",
        f"https://zoom.us/{'a' * 2000}",
    ],
)
def test_nobody_else_may(url):
    assert not allowed(url, HOSTS)


def test_a_signed_address_is_left_as_it_is():
    signed = "https://zoom.us/closedcaption?ns=GZHkEA==&spparams=id%2Cns"
    assert with_query(signed, {"seq": "1"}) == f"{signed}&seq=1"
    assert with_query("https://zoom.us/closedcaption#x", {"seq": "1"}) == "https://zoom.us/closedcaption?seq=1"
