"""A home, a microphone, a loudspeaker and a display for a browser: all only software, and gone with the block."""

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from process import started, until

from .tab import STEP_S

# What is played into the sink "voice" comes out of the source "microphone".
MODULES = (
    "module-null-sink sink_name=speaker",
    "module-null-sink sink_name=voice rate=48000 channels=1",
    "module-remap-source source_name=microphone master=voice.monitor remix=no",
)


@dataclass
class Desktop:
    """`env` is the environment of what runs here."""

    env: dict[str, str]
    ending: ExitStack

    def say(self, wav: Path) -> None:
        """Plays a file into the microphone; does not wait for its end."""
        self.ending.enter_context(started("paplay", "--device=voice", str(wav), env=self.env))

    def noise(self) -> AbstractContextManager[object]:
        """The microphone hears noise during the block."""
        return started("pacat", "--device=voice", "/dev/urandom", env=self.env)


@contextmanager
def desktop(*, display: bool = False) -> Iterator[Desktop]:
    """Skips the test where a program for it is missing."""
    for program in ("pulseaudio", "pactl", "paplay", *(["Xvfb"] if display else [])):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with TemporaryDirectory(prefix="sotto-", ignore_cleanup_errors=True) as home, ExitStack() as ending:
        env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        env |= {"HOME": home, "XDG_RUNTIME_DIR": home, "PULSE_SERVER": f"unix:{home}/sound"}
        # Nothing here needs a message bus, and what one starts is not ours to end.
        env["DBUS_SESSION_BUS_ADDRESS"] = "disabled:"
        if display:
            env["DISPLAY"] = ending.enter_context(screen(env))
        modules = (f"module-native-protocol-unix auth-anonymous=1 socket={home}/sound", *MODULES)
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *(f"--load={one}" for one in modules)]
        sound = ending.enter_context(started(*command, env=env))
        ask = partial(subprocess.run, ["pactl", "info"], env=env, capture_output=True, timeout=STEP_S)
        assert until(sound, lambda: ask().returncode == 0), "PulseAudio did not start"
        yield Desktop(env, ending)


@contextmanager
def screen(env: dict[str, str]) -> Iterator[str]:
    """The name of a new display."""
    reading, writing = os.pipe()
    try:
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
        with started(*command, env=env, pass_fds=[writing]):
            ready, _, _ = select.select([reading], [], [], STEP_S)  # it writes the number when it takes clients
            assert ready, "Xvfb did not start"
            yield f":{os.read(reading, 16).decode().strip()}"
    finally:
        os.close(reading)
        os.close(writing)
