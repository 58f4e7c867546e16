"""The daemon's answer to `metrics` in the formats of Prometheus and OpenMetrics."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pycron.protocol.metrics_answer import HistogramRow, MetricsAnswer, MetricsRow

_JOB = ("job_name", "user")
OPEN_METRICS = "application/openmetrics-text"


def rendered(answer: MetricsAnswer, accept: str = "") -> tuple[bytes, str]:
    """The metrics in an answer, and their content type.

    `accept`: the header Accept of the request; the text format of Prometheus is the default.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(answer))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector(Collector):
    def __init__(self, answer: MetricsAnswer) -> None:
        self._answer = answer

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily(
            "pycron", "The version of the daemon.", {"version": self._answer["version"]}
        )
        yield from _of_jobs(self._answer)
        yield from _of_now(self._answer)
        yield from _of_everything(self._answer)


def _of_jobs(answer: MetricsAnswer) -> Iterator[Metric]:
    """What is counted of each named Job, and of all the others together."""
    rows = [*answer["jobs"], *([answer["other"]] if "other" in answer else [])]
    runs = CounterMetricFamily(
        "pycron_runs", "Runs that have ended, by outcome.", labels=(*_JOB, "outcome")
    )
    durations = HistogramMetricFamily(
        "pycron_run_duration_seconds", "How long commands ran, one value for each Attempt.",
        labels=_JOB,
    )  # fmt: skip
    for row in rows:
        for outcome in answer["outcomes"]:
            runs.add_metric([*_labels(row), outcome], row["ended"].get(outcome, 0))
        durations.add_metric(_labels(row), *_histogram(row["seconds"]))
    yield runs
    yield durations
    yield _gauge(
        "pycron_job_last_success_timestamp_seconds", "When a Run of the Job succeeded last.",
        answer["jobs"], lambda row: row["succeeded"],
    )  # fmt: skip
    yield _gauge(
        "pycron_job_next_fire_timestamp_seconds", "The next fire time of the Job.",
        answer["jobs"], lambda row: row.get("next"),
    )  # fmt: skip


def _gauge(
    name: str, help: str, rows: Iterable[MetricsRow], value: Callable[[MetricsRow], float | None]
) -> Metric:
    gauge = GaugeMetricFamily(name, help, labels=_JOB)
    for row in rows:
        if (found := value(row)) is not None:
            gauge.add_metric(_labels(row), found)
    return gauge


def _of_now(answer: MetricsAnswer) -> Iterator[Metric]:
    """What runs and waits at the moment."""
    yield GaugeMetricFamily("pycron_running", "Runs whose command runs.", answer["running"])
    waiting = GaugeMetricFamily(
        "pycron_waiting", "Runs that wait, by what they wait for.", labels=["reason"]
    )
    for reason, count in answer["waiting"].items():
        waiting.add_metric([reason], count)
    yield waiting
    yield GaugeMetricFamily("pycron_jobs", "Jobs of all tables.", answer["all_jobs"])
    yield GaugeMetricFamily("pycron_tables", "Tables that are loaded.", answer["tables"])
    yield GaugeMetricFamily("pycron_bad_tables", "Tables with errors.", answer["bad_tables"])
    yield GaugeMetricFamily(
        "pycron_start_time_seconds", "When the daemon was started.", answer["since"]
    )


def _of_everything(answer: MetricsAnswer) -> Iterator[Metric]:
    """What only those learn who see everything."""
    if "starts" in answer:
        buckets, total = _histogram(answer["starts"])
        yield HistogramMetricFamily(
            "pycron_start_lateness_seconds", "How long after their fire times Runs started.",
            buckets, total,
        )  # fmt: skip
    if "deliveries" in answer:
        deliveries = CounterMetricFamily(
            "pycron_deliveries", "Mails, notifications, pings and failure hooks that have ended.",
            labels=["outcome"],
        )  # fmt: skip
        for outcome in answer["outcomes"]:
            deliveries.add_metric([outcome], answer["deliveries"].get(outcome, 0))
        yield deliveries
    if "dead_letters" in answer:
        yield GaugeMetricFamily(
            "pycron_dead_letters", "Runs that have used up their retries.", answer["dead_letters"]
        )
    if "config_is_good" in answer:
        yield GaugeMetricFamily(
            "pycron_last_reload_successful",
            "1 if the configuration file, as it is now, can be used.",
            int(answer["config_is_good"]),
        )
    if "store_is_writable" in answer:
        yield GaugeMetricFamily(
            "pycron_store_writable", "1 if the database can be written to.",
            int(answer["store_is_writable"]),
        )  # fmt: skip


def _labels(row: MetricsRow) -> list[str]:
    return [row["job"], row["user"]]


def _histogram(row: HistogramRow) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus has them: each counts what is at most its bound."""
    names = [*(str(bound) for bound in row["bounds"]), "+Inf"]
    total = 0
    buckets: list[tuple[str, float]] = []
    for name, count in zip(names, row["buckets"], strict=True):
        total += count
        buckets.append((name, total))
    return buckets, row["sum"]
