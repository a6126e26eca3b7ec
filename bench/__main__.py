"""`python -m bench [accuracy|latency|cost|faults|capacity|chaos|files|fanout …] [--runs 3] [--quick] [--url http://…]`."""

import argparse
import asyncio
import time
from pathlib import Path

from . import accuracy, capacity, chaos, cost, fanout, faults, files, latency, report, rig

PARTS = {
    "latency": latency,
    "accuracy": accuracy,
    "cost": cost,
    "faults": faults,
    "capacity": capacity,
    "chaos": chaos,
    "files": files,
    "fanout": fanout,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure a running server at real-time pace.")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument("--runs", type=int, help="sessions whose median counts; 3 by default")
    parser.add_argument("--quick", action="store_true", help="half the speech, one run, fewer sessions")
    parser.add_argument("--url", help="a server that runs already, such as http://127.0.0.1:8000")
    parser.add_argument(
        "--recording", type=Path, help="stream this recording, which has its chunks in a .json beside it"
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    begin = time.monotonic()
    with rig.bench(
        runs=args.runs or (1 if args.quick else 3), quick=args.quick, url=args.url, recording=args.recording
    ) as it:
        asyncio.run(run(it, args.parts or list(PARTS)))
        print(f"\n{report.machine()}\n{time.monotonic() - begin:.0f} s in all\n\n{report.table(it)}")


async def run(it: rig.Bench, parts: list[str]) -> None:
    """One part after the other; what is known is written at once."""
    for name in parts:
        print(f"{name} …", flush=True)
        await PARTS[name].run(it)
        report.write(it)


if __name__ == "__main__":
    main()
