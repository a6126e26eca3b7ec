"""The secret that tickets are signed with: given in the settings, or made once and kept in the state folder."""

import logging
import os
import secrets
import tempfile
from pathlib import Path

NAME = "secret"
SIZE = 32  # bytes

log = logging.getLogger("sotto")


def kept_secret(folder: Path) -> bytes:
    """The secret in this folder; the first process to ask makes it, and all that ask at the same time get the same.

    Where it cannot be kept the server runs all the same, with one that is good until its end.
    """
    try:
        return _read(folder / NAME) or _make(folder)
    except OSError as error:
        log.warning("no secret can be kept in %s: %s; tickets end with this process", folder, error)
        return secrets.token_bytes(SIZE)


def _read(path: Path) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with open(file, "rb") as opened:
        secret = opened.read(SIZE + 1)
    if len(secret) != SIZE:
        raise OSError(f"expected {SIZE} bytes in {path}, got others; delete it to have a new one made")
    return secret


def _make(folder: Path) -> bytes:
    folder.mkdir(0o700, parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(dir=folder, prefix=f".{NAME}-")  # readable by this user only (0600)
    draft = Path(name)
    path = folder / NAME
    try:
        with open(file, "wb") as opened:
            opened.write(secrets.token_bytes(SIZE))
            opened.flush()
            os.fsync(opened.fileno())
        # A link is there at once and whole, or fails because another process was first; then that one's counts.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
    finally:
        draft.unlink()
    secret = _read(path)
    assert secret is not None
    return secret
