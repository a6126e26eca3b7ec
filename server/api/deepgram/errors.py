"""Faults on an open socket, in Deepgram's shape: a message, and a close whose reason begins with a code."""

from typing import Any

from ...errors import AudioCorrupt, IdleTimeout, SottoError, UnsupportedFormat

NO_AUDIO = (UnsupportedFormat, AudioCorrupt)
REASON = 123  # bytes that a close frame has room for
BAD_AUDIO, IDLE = "DATA-0000", "NET-0001"  # known to their users


def message(fault: SottoError, request_id: str) -> dict[str, Any]:
    """The message before the close."""
    _, variant = _close(fault)
    description = fault.message
    if variant == BAD_AUDIO:
        description += "; also after a reconnect a recording begins with its header"
    return told(variant, description) | {"request_id": request_id}


def told(variant: str, description: str, message: str | None = None) -> dict[str, Any]:
    """`message` is what could not be understood."""
    return {"type": "Error", "variant": variant, "description": description, "message": message or description}


def close(fault: SottoError) -> tuple[int, str]:
    """Code and reason."""
    code, variant = _close(fault)
    return code, f"{variant}: {fault.message}".encode()[:REASON].decode(errors="ignore")


def _close(fault: SottoError) -> tuple[int, str]:
    """With the code of RFC 6455, since ours are not theirs."""
    if isinstance(fault, NO_AUDIO):
        return 1008, BAD_AUDIO
    if isinstance(fault, IdleTimeout):
        return 1011, IDLE
    if fault.close < 4000:
        return fault.close, fault.code
    return (1011 if fault.retryable else 1008), fault.code
