"""Addresses that a client names: where it may send this server, and how they are written."""

from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

LONGEST = 2000  # characters


def allowed(url: str, hosts: Iterable[str]) -> bool:
    """Whether it is an http or https address of one of these hosts or of a host below one."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port  # raises ValueError if it is none
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url and "@" not in parts.netloc
    known = any(host == name or host.endswith(f".{name}") for name in hosts)
    return plain and known and parts.scheme in ("http", "https") and len(url) <= LONGEST


def with_query(url: str, query: dict[str, str]) -> str:
    """The address with more parameters behind its own, which are left as they are: they may be signed."""
    url = url.partition("#")[0]
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
