"""Addresses that a client names: where it may send this server, and how they are written."""

from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

import httpx2

LONGEST = 2000  # characters


def allowed(url: str, hosts: Iterable[str]) -> bool:
    """Whether it is an http or https address of one of these hosts or of a host below one."""
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url and len(url) <= LONGEST
    if not plain:
        return False
    try:
        parts, asked = urlsplit(url), httpx2.URL(url)
        host = parts.hostname or ""
        same = bool(asked.host) and asked.raw_host == host.encode()  # `host` decodes xn--, which raises too
        _ = parts.port  # raises ValueError if it is none
    except (ValueError, httpx2.InvalidURL):
        return False
    known = any(f".{host.rstrip('.')}".endswith(f".{name}") for name in hosts)
    return same and known and parts.scheme in ("http", "https") and "@" not in parts.netloc


def with_query(url: str, query: dict[str, str]) -> str:
    """The address with more parameters behind its own, which are left as they are: they may be signed."""
    url = url.partition("#")[0]
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
