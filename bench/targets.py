"""What the server must reach: the rows of the table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A result's name, what it is, the most it may be, and its unit."""

    key: str
    name: str
    most: float
    unit: str = "s"


TARGETS = (
    Target("remote.shown_p50", "upstream 700 ms: shown p50", 1.35),
    Target("remote.shown_p95", "upstream 700 ms: shown p95", 2.2),
    Target("remote.settled_p50", "upstream 700 ms: settled p50", 1.9),
    Target("remote.settled_p95", "upstream 700 ms: settled p95", 3.0),
    Target("remote.cost", "upstream 700 ms: cost", 2.5, "×"),
    Target("fast.shown_p50", "fastest setting: shown p50", 1.1),
    Target("fast.settled_p50", "fastest setting: settled p50", 1.6),
    Target("fast.cost", "fastest setting: cost", 5.0, "×"),
    Target("many16.shown_ratio", "16 sessions at once: shown p50 against 1", 1.15, "×"),
    Target("many16.settled_ratio", "16 sessions at once: settled p50 against 1", 1.15, "×"),
    Target("many50.shown_ratio", "50 sessions at once: shown p50 against 1", 1.15, "×"),
    Target("many50.settled_ratio", "50 sessions at once: settled p50 against 1", 1.15, "×"),
    Target("slow.lag_end", "upstream 1500 ms: lag of the last final", 2.5),
    Target("slow.growth", "upstream 1500 ms: final lag, second half less first", 0.3),
    Target("instant.cost", "instant upstream: cost", 2.5, "×"),
    Target("fail30.dead", "30 % of calls fail: dead sessions of 4", 0, ""),
    Target("fail30.lost", "30 % of calls fail: words lost", 0, ""),
    Target("gone.warned", "upstream gone for 20 s: warned after", 3.0),
    Target("gone.lost", "upstream gone for 20 s: words lost", 0, ""),
    Target("busy.lost", "429 for a minute: words lost", 0, ""),
    Target("html.lost", "HTML instead of JSON, 30 %: words lost", 0, ""),
    Target("badjson.lost", "broken JSON, 30 %: words lost", 0, ""),
    Target("empty.lost", "empty objects, 30 %: words lost", 0, ""),
    Target("drip.lost", "answers that drip for ever, 5 %: words lost", 0, ""),
    Target("hang.lost", "answers that never come, 5 %: words lost", 0, ""),
    Target("killed.dead", "one server, killed and stopped: dead sessions", 0, ""),
    Target("killed.lost", "one server, killed and stopped: words lost", 0, ""),
    Target("killed.doubled", "one server, killed and stopped: words doubled", 0, ""),
    Target("killed.gap_p95", "one server, killed and stopped: gap p95, its start included", 1.5),
    Target("handed.dead", "two servers, one ends: dead sessions", 0, ""),
    Target("handed.lost", "two servers, one ends: words lost", 0, ""),
    Target("handed.doubled", "two servers, one ends: words doubled", 0, ""),
    Target("handed.gap_p95", "two servers, one ends: gap p95", 1.5),
    Target("broken.dead", "lines cut, swallowed, in single bytes: dead sessions", 0, ""),
    Target("broken.lost", "lines cut, swallowed, in single bytes: words lost", 0, ""),
    Target("broken.doubled", "lines cut, swallowed, in single bytes: words doubled", 0, ""),
    Target("broken.gap_p95", "lines cut, swallowed, in single bytes: gap p95", 1.5),
    Target("oracle_bare.lost", "perfect engine: words lost", 0, ""),
    Target("oracle_bare.doubled", "perfect engine: words doubled", 0, ""),
    Target("oracle_bare.wrong", "perfect engine: words wrong", 0, ""),
    Target("oracle_none.lost", "perfect engine, no word times: words lost", 0, ""),
    Target("oracle_none.doubled", "perfect engine, no word times: words doubled", 0, ""),
    Target("shapes.differ", "other texts from other shapes of answers", 0, ""),
    Target("embedded.shown_p50", "embedded engine: shown p50", 0.6),
    Target("embedded.settled_p50", "embedded engine: settled p50", 0.9),
    Target("embedded.final_p50", "embedded engine: final lag p50", 0.40),
    Target("embedded.final_p95", "embedded engine: final lag p95", 0.75),
    Target("wer.delta", "streamed WER less whole file's", 0.5, "points"),
    Target("cpu.server", "server CPU for an audio second, no engine", 3.3, "ms"),
    Target("cpu.embedded", "embedded engine, partials every second: CPU", 45, "ms"),
    Target("cpu.finals", "embedded engine, finals only: CPU", 16, "ms"),
    Target("embedded30.shown_p50", "30 sessions, embedded engine: shown p50", 0.6),
    Target("memory.start", "memory at start, remote engine", 120, "MB"),
    Target("memory.session", "memory for a speaking session", 1.0, "MB"),
    Target("memory.idle", "memory for an idle socket", 45, "kB"),
    Target("bytes.last", "sent to a client, last third of the stream", 3.0, "kB/s"),
    Target("fanout1.last_p99", "5,000 viewers of one server: final with the last of them, p99", 500, "ms"),
    Target("fanout1.missing", "5,000 viewers of one server: finals missing", 0, ""),
    Target("fanout1.disordered", "5,000 viewers of one server: finals twice or out of order", 0, ""),
    Target("fanout1.gone", "5,000 viewers of one server: connections lost", 0, ""),
    Target("fanout2.last_p99", "5,000 viewers of two servers: final with the last of them, p99", 500, "ms"),
    Target("fanout2.missing", "5,000 viewers of two servers: finals missing", 0, ""),
    Target("fanout2.disordered", "5,000 viewers of two servers: finals twice or out of order", 0, ""),
    Target("fanout2.gone", "5,000 viewers of two servers: connections lost", 0, ""),
    Target("files.memory", "hours in one file: memory of the server and its decoder", 300, "MB"),
    Target("files.misplaced", "hours in one file: words not at their time", 0, ""),
    Target("start.embedded", "start to ready, embedded engine", 2.0),
    Target("size", "installed size", 500, "MB"),
)
