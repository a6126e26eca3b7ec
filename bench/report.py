"""The results as a table beside the targets, as JSON, and as a plot."""

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from .rig import Bench
from .targets import TARGETS

HERE = Path(__file__).parent
PACKAGES = ("onnxruntime", "av", "openai", "websockets", "uvicorn")
WIDTH, HEIGHT, EDGE = 520, 340, 50  # of one diagram, in pixels
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's, told apart by everyone
LATEST_S = 4.0  # right end of the latency axis


def table(it: Bench) -> str:
    """Markdown: every target that was measured."""
    lines = ["| what | target | measured | met |", "|---|---|---|---|"]
    for target in TARGETS:
        if target.key in it.results:
            value = it.results[target.key]
            met = "yes" if value <= target.most else "**no**"
            lines.append(f"| {target.name} | ≤ {target.most:g} {target.unit} | {value:.3g} {target.unit} | {met} |")
    return "\n".join(line.replace("  |", " |") for line in lines)


def machine() -> str:
    """Where and with what this was measured."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = psutil.getloadavg()[0]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores of {model}, {platform.system()}, "
        f"Python {platform.python_version()}, load at the end {load:.1f}; {versions}."
    )


def write(it: Bench, name: str = "results") -> None:
    """<name>.json, <name>.md and, where there is something to plot, <name>.svg."""
    clean = {key: value if math.isfinite(value) else None for key, value in sorted(it.results.items())}
    (HERE / f"{name}.json").write_text(json.dumps({"machine": machine(), "results": clean}, indent=1) + "\n")
    said = f"{it.speech.seconds:.0f} s of speech, {len(it.speech.words)} words, median of {it.runs} runs."
    (HERE / f"{name}.md").write_text(f"# Measured\n\n{machine()}\n{said}\n\n{table(it)}\n")
    if it.curves:
        (HERE / f"{name}.svg").write_text(plot(it))


def plot(it: Bench) -> str:
    """When words are shown and settled, and what an upstream's delay does to the cost."""
    names = [n for n in ("embedded", "remote", "fast", "given") if f"{n} shown" in it.curves]
    lines = []
    for colour, name in zip(COLOURS, names, strict=False):
        for pick, dash in (("shown", ""), ("settled", ' stroke-dasharray="5 3"')):
            points = it.curves[f"{name} {pick}"]
            lines.append((f"{name} {pick}", [(x, 100 * y) for x, y in points if x <= LATEST_S], colour, dash))
    diagrams = [_diagram("words, %, after … seconds", lines, LATEST_S, 100)] if lines else []
    if cost := it.curves.get("cost"):
        top = max(3.0, *(y for _, y in cost))
        lines = [("sent to the engine / streamed", cost, COLOURS[0], "")]
        diagrams.append(_diagram("cost at an upstream's delay of … seconds", lines, cost[-1][0], top))
    size = f'width="{WIDTH * len(diagrams)}" height="{HEIGHT}"'
    body = "".join(f'<g transform="translate({WIDTH * i} 0)">{part}</g>' for i, part in enumerate(diagrams))
    style = 'font-family="sans-serif" font-size="12"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{ground}{body}</svg>\n'


Line = tuple[str, list[tuple[float, float]], str, str]  # name, points, colour, dash


def _diagram(title: str, lines: list[Line], right: float, top: float) -> str:
    wide, high = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE

    def place(x: float, y: float) -> str:
        return f"{EDGE + max(0.0, x) / right * wide:.1f},{HEIGHT - EDGE - y / top * high:.1f}"

    parts = [f'<text x="{EDGE}" y="{EDGE - 20}" font-weight="bold">{title}</text>']
    for i in range(5):
        x, y = i / 4 * right, i / 4 * top
        left, low = EDGE + i / 4 * wide, HEIGHT - EDGE - i / 4 * high
        parts.append(f'<path d="M{EDGE} {low}h{wide}M{left} {EDGE}v{high}" stroke="#ddd"/>')
        parts.append(f'<text x="{left}" y="{HEIGHT - EDGE + 18}" text-anchor="middle">{x:g}</text>')
        parts.append(f'<text x="{EDGE - 6}" y="{low + 4}" text-anchor="end">{y:.3g}</text>')
    for i, (name, points, colour, dash) in enumerate(lines):
        path = " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        low = HEIGHT - EDGE - 8 - 16 * (len(lines) - 1 - i)
        parts.append(f'<text x="{WIDTH - EDGE - 6}" y="{low}" text-anchor="end" fill="{colour}">{name}</text>')
    return "".join(parts)
