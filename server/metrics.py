"""What is counted, for Prometheus. Names and labels are promises: docs/operations.md lists them.

No label has an unbounded set of values: never a session, a room or an address.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .engines.pool import Call

AGES = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)  # seconds
CALL_S = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)
COSTS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0)


class Metrics:
    """One process's figures; each app has its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.ended = Counter(
            "sotto_sessions_ended", "Sessions by what ended them.", ["protocol", "end"], registry=registry
        )
        self.resumes = Counter("sotto_resumes", "Connections that went on with a session.", registry=registry)
        self.drops = Counter("sotto_drops", "What was not delivered or not kept.", ["what"], registry=registry)
        for what in ("final", "push", "viewer"):
            self.drops.labels(what)  # told as 0 from the beginning
        self.audio = Counter("sotto_audio_seconds", "Sound that came in.", ["source"], registry=registry)
        self.captions = Counter("sotto_captions", "Captions that went out.", ["kind"], registry=registry)
        self.caption_age = Histogram(
            "sotto_caption_lag_seconds", "From the coming of a caption's last sound to the caption.", ["kind"],
            buckets=AGES, registry=registry,
        )  # fmt: skip
        self.word_age = Histogram(
            "sotto_word_latency_seconds", "The same for each word, at the first caption that shows it.",
            buckets=AGES, registry=registry,
        )  # fmt: skip
        self.cost = Histogram(
            "sotto_session_cost_ratio", "Sound sent to engines per sound streamed, for each session.",
            buckets=COSTS, registry=registry,
        )  # fmt: skip
        self._calls = Histogram(
            "sotto_engine_call_seconds", "Calls to engines by kind and result.", ["engine", "kind", "result"],
            buckets=CALL_S, registry=registry,
        )  # fmt: skip
        self._sent = Counter(
            "sotto_engine_audio_seconds", "Sound sent to engines.", ["engine", "kind"], registry=registry
        )

    def called(self, call: Call) -> None:
        """An engine was called."""
        kind = call.kind.name.lower()
        self._calls.labels(call.engine, kind, call.result).observe(call.seconds)
        self._sent.labels(call.engine, kind).inc(call.audio_s)

    def dropped(self, what: str) -> None:
        self.drops.labels(what).inc()

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A figure that is asked for when the page is read."""
        Gauge(name, about, registry=self._registry).set_function(value)

    def page(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)
