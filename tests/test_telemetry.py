"""No library that the server runs on reports its use to somebody else."""

import subprocess
import sys
from pathlib import Path


def test_onnxruntime_is_told_to_report_nothing(tmp_path: Path) -> None:
    # A bare environment: it keeps quiet by itself where a variable says that this is CI. Else an id is in the home.
    home = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    load = "from server.audio.vad import load_model; load_model()"
    subprocess.run([sys.executable, "-c", load], cwd=Path(__file__).parents[1], env=home, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
