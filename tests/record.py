"""Records what Chromium's MediaRecorder really sends, for tests: `python tests/record.py` rewrites tests/recordings."""

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from browsers.chromium import STEP_MS, chromium
from spoken import CLIP_S, CLIP_TEXT, spoken_wav

RECORDINGS = Path(__file__).parent / "recordings"
KINDS = {
    "chromium-webm-opus.webm": "audio/webm;codecs=opus",
    "chromium-mp4-opus.mp4": "audio/mp4;codecs=opus",
}
TIMESLICE_MS = 250
BITS_PER_SECOND = 32_000
TAIL_S = 1.0  # silence after the last word, so that an endpoint is in the recording

# Microphones need a secure context: localhost is one, and the route below answers for it without a server.
PAGE = "http://localhost/"
SCRIPT = """
async ([mimeType, timeslice, audioBitsPerSecond, length]) => {
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond });
  const blobs = [], times = [];
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  recorder.addEventListener("dataavailable", ({ data }) => {
    blobs.push(data);
    times.push(performance.now() - begun);
  });
  const begun = performance.now();
  recorder.start(timeslice);
  setTimeout(() => recorder.stop(), length);
  await stopped;
  stream.getTracks().forEach((track) => track.stop());
  const chunks = [];
  for (const [i, blob] of blobs.entries()) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    chunks.push([btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join("")), Math.round(times[i] * 10) / 10]);
  }
  return { mimeType: recorder.mimeType, chunks };
}
"""


def record(wav: Path, mime_type: str) -> tuple[str, dict[str, Any]]:
    """Chromium's version, and the recorder's mime type with its chunks [[base64, arrival ms], …]."""
    with chromium(wav) as browser:
        page = browser.new_page()
        page.set_default_timeout(STEP_MS)
        page.route("**/*", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
        page.goto(PAGE)
        length_ms = (CLIP_S + TAIL_S) * 1000
        return browser.version, page.evaluate(SCRIPT, [mime_type, TIMESLICE_MS, BITS_PER_SECOND, length_ms])


def main() -> None:
    RECORDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wav = spoken_wav(Path(folder))
        for name, mime_type in KINDS.items():
            version, answer = record(wav, mime_type)
            chunks = [(base64.b64decode(data), arrival) for data, arrival in answer["chunks"]]
            facts = {
                "browser": f"Chromium {version}",
                "recorder_mimeType": answer["mimeType"],
                "timeslice_ms": TIMESLICE_MS,
                "audioBitsPerSecond": BITS_PER_SECOND,
                "source": "getUserMedia",
                "actions": [],
                "clip": "two_cities8",
                "reference_text": CLIP_TEXT,
                "chunks": [[len(data), arrival] for data, arrival in chunks],
            }
            target = RECORDINGS / name
            target.write_bytes(b"".join(data for data, _ in chunks))
            target.with_suffix(".json").write_text(json.dumps(facts) + "\n")
            print(f"{name}: {len(chunks)} chunks, {target.stat().st_size} bytes, {answer['mimeType']}")


if __name__ == "__main__":
    main()
