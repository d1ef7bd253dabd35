"""GET /metrics: Prometheus' text format, version 0.0.4."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cabinos.kernel.events import Event
from cabinos.kernel.kernel import Kernel

__all__ = ["Metrics", "get_metrics"]

BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # seconds
Labels = tuple[tuple[str, str], ...]
Values = Mapping[Labels, float]


class Histogram:
    """How many observations fell below each bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Counts what happens in a kernel and to requests from now on; listens to its events."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._requests: Counter[Labels] = Counter()
        self._request_seconds = Histogram()
        self._tokens: Counter[Labels] = Counter()
        self._calls: Counter[Labels] = Counter()
        self._thought_seconds: dict[str, Histogram] = {}

    def put_nowait(self, event: Event) -> None:
        """Counts an event."""
        if event.kind == "thought":
            self._count_thought(event.pid, event.data)
        elif event.kind == "result":
            self._calls[(("ok", str(event.data["ok"]).lower()),)] += 1

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        self._requests[("route", route), ("status", str(status))] += 1
        self._request_seconds.observe(seconds)

    def _count_thought(self, pid: int, data: Mapping[str, float]) -> None:
        model = self._kernel.table.get(pid).model
        for kind in ("in", "cached", "out"):
            self._tokens[("kind", kind), ("model", model)] += int(data.get(kind, 0))
        self._thought_seconds.setdefault(model, Histogram()).observe(data.get("ms", 0) / 1000)

    def lines(self) -> Iterator[str]:
        """The whole text."""
        states = self._kernel.store.rows("SELECT state, count(*) FROM process GROUP BY state")
        processes: Values = {(("state", state),): number for state, number in states}
        yield from _family("cabin_processes", "gauge", "Processes by state.", processes)
        queues = self._kernel.queues
        running: Values = {(("model", name),): queue.running for name, queue in queues.items()}
        waiting: Values = {(("model", name),): queue.waiting for name, queue in queues.items()}
        yield from _family("cabin_thoughts_running", "gauge", "Thoughts under way.", running)
        yield from _family("cabin_thoughts_waiting", "gauge", "Thoughts in the queue.", waiting)
        asks: Values = {(): len(self._kernel.open_asks())}
        yield from _family("cabin_open_asks", "gauge", "Questions to people.", asks)
        yield from _family("cabin_tokens_total", "counter", "Tokens of thoughts.", self._tokens)
        yield from _family("cabin_calls_total", "counter", "Settled calls.", self._calls)
        commits: Values = {(): self._kernel.store.commits}
        yield from _family("cabin_commits_total", "counter", "Commits of the store.", commits)
        yield from _family("cabin_requests_total", "counter", "HTTP requests.", self._requests)
        yield from _header("cabin_request_seconds", "histogram", "Until a request was answered.")
        yield from _histogram("cabin_request_seconds", (), self._request_seconds)
        yield from _header("cabin_thought_seconds", "histogram", "Time of a thought.")
        for model, histogram in self._thought_seconds.items():
            yield from _histogram("cabin_thought_seconds", (("model", model),), histogram)


async def get_metrics(request: Request) -> Response:
    """All there is to know."""
    metrics: Metrics = request.app.state.service.metrics
    text = "\n".join(metrics.lines()) + "\n"
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _family(name: str, kind: str, text: str, values: Values) -> Iterator[str]:
    yield from _header(name, kind, text)
    for labels, value in values.items():
        yield f"{name}{_labelled(labels)} {value}"


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*BUCKETS, "+Inf"), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket{_labelled((*labels, ('le', str(bound))))} {total}"
    yield f"{name}_sum{_labelled(labels)} {histogram.sum:.6f}"
    yield f"{name}_count{_labelled(labels)} {total}"


def _labelled(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
