"""What `sotto` can be told."""

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from .target import INTERRUPTED, LOCAL, SERVER, TOKEN, Unread

SOTTO = """\
Realtime captions over WebSocket. Without a command it is the server: open the address it prints in a browser, and
speak. `transcribe` and `live` are clients of a server that runs."""

TRANSCRIBE = """\
Transcribe files: WebM, MP4, M4A, Ogg, WAV, MP3, FLAC, AAC. The transcript of one file goes to standard output, those
of several go beside their files: talk.srt beside talk.mp4."""

LIVE = """\
Caption sound as it comes: a file, or what another program writes.

    arecord -f S16_LE -r 16000 | sotto live
    sotto live talk.webm

WebM, MP4 as recorders write it, Ogg and WAV are told by their first bytes. Anything else on standard input is taken for
samples without a header, as --encoding, --rate and --channels say; a file of such samples needs one of the three. A
file is sent at the pace of its sound, each byte when a recorder would have written it; a pipe, as fast as it comes.

On a terminal a caption grows while somebody speaks; elsewhere there is a line for each final one. Ctrl-C ends the sound
and waits for the last words, a second one ends at once. A line that breaks is made anew, and no word is lost."""

ENDS = "Ends with 0 when all went well, with 1 when something did not, with 2 when it was called wrongly."


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """The command, in `command`, and its options; ends the process when they are wrong."""
    parser = ArgumentParser(
        "sotto",
        description=SOTTO,
        epilog="The server's settings come from the environment and from .env in this folder; .env.example lists them.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sotto {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="serve | transcribe | live")
    commands.add_parser("serve", help="the server; the same as no command", description="Run the server.")

    form = RawDescriptionHelpFormatter
    files = commands.add_parser(
        "transcribe", help="transcribe files", description=TRANSCRIBE, epilog=ENDS, formatter_class=form
    )
    files.add_argument("files", nargs="+", metavar="FILE")
    files.add_argument("--format", choices=["text", "srt", "vtt", "json"], default="text", help="default: text")
    files.add_argument("--output", metavar="PATH", help="a file, a folder, or - for standard output")
    files.add_argument("--force", action="store_true", help="write over files that are there")
    _as_a_client(files)

    live = commands.add_parser(
        "live", help="caption sound as it comes", description=LIVE, epilog=ENDS, formatter_class=form
    )
    live.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard input")
    live.add_argument("--encoding", metavar="NAME", help="pcm_s16le (default), pcm_f32le, mulaw or alaw")
    live.add_argument("--rate", type=int, metavar="HZ", help="default: 16000")
    live.add_argument("--channels", type=int, metavar="N", help="default: 1")
    live.add_argument("--room", metavar="NAME", help="where others follow; by default the session's id")
    _as_a_client(live)
    return parser.parse_args(arguments)


def _as_a_client(parser: ArgumentParser) -> None:
    parser.add_argument("--language", metavar="CODE", help="such as en or de-AT; by default the engine finds out")
    parser.add_argument("--prompt", metavar="TEXT", help="names and terms to expect")
    parser.add_argument(
        "--server", metavar="URL", default=os.environ.get(SERVER) or LOCAL, help=f"default: ${SERVER}, or {LOCAL}"
    )
    parser.add_argument(
        "--token",
        type=_token,
        default=os.environ.get(TOKEN, ""),
        help=f"a key or a token of the server, where it wants one; default: ${TOKEN}, which other users cannot see",
    )


def _token(text: str) -> str:
    """What a header can hold."""
    if not (text.isascii() and text.isprintable()):
        raise ArgumentTypeError("expected letters, digits and . _ ~ + -, got others")
    return text


def run(arguments: Namespace) -> NoReturn:
    """A client's command, and the end of the process."""
    try:
        match arguments.command:
            case "transcribe":
                from . import transcribe

                sys.exit(transcribe.run(arguments))
            case _:
                from . import live

                sys.exit(live.run(arguments))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left at its end
        sys.exit(1)
