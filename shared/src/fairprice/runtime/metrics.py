"""The names of all metrics, as a table that dashboards are compared with, and their way to Prometheus.

Services count in plain attributes on their hot paths; the exporter reads those when it is scraped.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name without the prefix `fairprice_`, its help text and its labels.

    `_total` makes it a counter, `_latency_seconds` a histogram, whose samples are `Histogram`s.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric(
        "build_info",
        "1 for what runs: which service in which version on which Python",
        ("service", "version", "python"),
    ),
    Metric("crawler_frames_total", "Frames of the exchange by kind; invalid ones cannot be read", ("venue", "kind")),
    Metric("crawler_connections", "Open stream connections", ("venue",)),
    Metric("crawler_reconnects_total", "Stream connections that were lost and made again", ("venue",)),
    Metric(
        "crawler_clock_back_total",
        "Times that the exchange's clock went back by more than a second",
        ("venue", "symbol"),
    ),
    Metric("crawler_diffs_total", "Diffs by what became of them", ("venue", "symbol", "outcome")),
    Metric("crawler_out_of_order_total", "Diffs that arrived behind later ones", ("venue", "symbol")),
    Metric("crawler_books_total", "Books published", ("venue", "symbol")),
    Metric("crawler_gaps_total", "Gaps published", ("venue", "symbol", "reason")),
    Metric("crawler_missing_updates_total", "Update ids inside published gaps", ("venue", "symbol")),
    Metric("crawler_resyncs_total", "Synchronisations started", ("venue", "symbol", "reason")),
    Metric(
        "crawler_refreshes_total",
        "Snapshots for books in sync: taken, or contradicting",
        ("venue", "symbol", "outcome"),
    ),
    Metric(
        "crawler_levels_total",
        "Levels of a book compared with a fresh snapshot of the same id",
        ("venue", "symbol", "outcome"),
    ),
    Metric("crawler_symbols", "Symbols that are followed", ("venue",)),
    Metric("crawler_symbol_changes_total", "Symbols followed or let go while running", ("venue", "change")),
    Metric("crawler_audits_total", "Comparisons of a book's top with its ticker", ("venue", "symbol", "outcome")),
    Metric("crawler_unaudited", "1 while the audit had nothing to compare with for a minute", ("venue", "symbol")),
    Metric(
        "crawler_band_outcomes_total",
        "Mids that lay inside or outside of the band that was published so much before",
        ("venue", "symbol", "horizon", "result"),
    ),
    Metric(
        "crawler_learning_seconds",
        "Time by the exchange's clock until a symbol's books bring a model; 0: they do",
        ("venue", "symbol"),
    ),
    Metric("crawler_in_sync", "1 while the book is in sync", ("venue", "symbol")),
    Metric("crawler_trading", "1 while the exchange says that the symbol trades", ("venue", "symbol")),
    Metric("crawler_snapshots_total", "Snapshot requests", ("venue", "outcome")),
    Metric("crawler_request_weight", "REST weight used in the current minute, as the exchange reports it", ("venue",)),
    Metric("crawler_clock_skew_seconds", "The exchange's clock minus this machine's, at arrival", ("venue",)),
    Metric("crawler_unconfirmed_events", "Events waiting for the broker"),
    Metric("crawler_latency_seconds", "Time from the exchange's event to the frame's arrival", ("venue",)),
    Metric("crawler_quotes_total", "Quotes made for the live view", ("venue",)),
    Metric("converter_prices_total", "Prices published", ("venue", "status")),
    Metric("converter_copies_total", "Books that were priced already, passed over"),
    Metric("converter_invalid_lines_total", "Lines sent to the dead letters"),
    Metric("converter_unknown_lines_total", "Lines of an event that a later version added, passed over"),
    Metric("converter_latency_seconds", "Time from the exchange's event to the price"),
    Metric("converter_live_prices_total", "Quotes priced for the live view", ("venue", "status")),
    Metric("converter_quote_copies_total", "Quotes no newer than one that was priced, passed over"),
    Metric("converter_invalid_quotes_total", "Quotes that could not be read or priced, passed over"),
    Metric("converter_live_latency_seconds", "Time from the arrival of a best bid and ask to its price"),
    Metric("storer_rows_total", "Rows written", ("measurement",)),
    Metric("storer_batches_total", "Batches written", ("queue",)),
    Metric("storer_invalid_lines_total", "Lines sent to the dead letters"),
    Metric("storer_unknown_lines_total", "Lines of an event that a later version added, passed over"),
    Metric("storer_latency_seconds", "Time from the exchange's event to the stored row", ("measurement",)),
    Metric("storer_open_gaps", "Gaps of the last day with update ids that no row covers", ("venue", "symbol")),
    Metric("storer_filled_gaps_total", "Gaps that the rows of another crawler turned out to fill", ("venue", "symbol")),
    Metric("storer_settlement_failures_total", "Rounds in which gaps could not be settled, nor the basis worked out"),
    Metric("storer_failures_total", "Writes that the store did not take and that were repeated"),
    Metric("storer_trouble", "1 while the store takes nothing of a queue", ("queue",)),
    Metric("gateway_clients", "Open websocket connections"),
    Metric("gateway_dropped_messages_total", "Messages that slow websocket clients lost"),
    Metric("gateway_price_age_seconds", "Age of the newest price", ("venue", "symbol")),
    Metric("gateway_disputed", "1 while live view and record tell different best prices", ("venue", "symbol")),
    Metric(
        "gateway_basis_beyond",
        "1 while the mid is farther from that of the first venue than FAIRPRICE_BASIS_BOUND",
        ("venue", "symbol"),
    ),
    Metric("broker_queue_messages", "Unsettled messages of the embedded broker", ("queue",)),
    Metric("broker_forgotten_messages_total", "Messages that taps of the embedded broker forgot unread", ("exchange",)),
    Metric("broker_connected", "1 while both connections to RabbitMQ are there"),
    Metric("broker_blocked", "1 while an alarm of RabbitMQ holds publishes back"),
    Metric("broker_missing_objects", "Exchanges and queues that RabbitMQ lacks"),
    Metric("broker_unsafe_queues", "Queues of RabbitMQ that drop what was delivered 20 times"),
    Metric("broker_lost_connections_total", "Times that the connections to RabbitMQ were lost"),
    Metric("broker_publishes_total", "Publishes by what became of them", ("exchange", "outcome")),
    Metric(
        "broker_casts_total",
        "Messages of the live view by what became of them; dropped ones found no way at once",
        ("exchange", "outcome"),
    ),
    Metric("broker_subscriptions", "Queues that are being read: 1, or 0 while that fails", ("queue",)),
    Metric("broker_deliveries_total", "Messages delivered, for the first time or again", ("queue", "time")),
    Metric("broker_unconfirmed_messages", "Publishes that wait for RabbitMQ"),
    Metric("broker_unconfirmed_seconds", "Age of the oldest publish that waits for RabbitMQ"),
)

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
"""Seconds up to which each bucket of a histogram counts; one more counts the rest."""


@dataclass(slots=True, eq=False)
class Histogram:
    """How many times took how many seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def observe(self, microseconds: int) -> None:
        """Count a time; less than none is what two clocks differ by, and counts as none."""
        seconds = max(0, microseconds) / 1_000_000
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


Sample = tuple[str, tuple[str, ...], float | Histogram]
"""Name without prefix, label values in the table's order, value."""


class Exporter(Collector):
    """Turns samples into Prometheus families each time it is scraped."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Family]:
        """Yield a family for each metric that has samples.

        A name outside the table is a bug and raises `KeyError`, other labels than the table's `ValueError`.
        """
        samples: defaultdict[str, list[tuple[tuple[str, ...], float | Histogram]]] = defaultdict(list)
        for name, labels, value in self._read():
            samples[name].append((labels, value))
        known = {metric.name: metric for metric in METRICS}
        for name, rows in samples.items():
            yield _family(known[name], rows)


def _family(metric: Metric, rows: list[tuple[tuple[str, ...], float | Histogram]]) -> Family:
    if metric.name.endswith("_latency_seconds"):
        histograms = HistogramMetricFamily(f"fairprice_{metric.name}", metric.help, labels=metric.labels)
        for labels, histogram in _checked(metric, rows):
            counts = zip((*map(str, BOUNDS), "+Inf"), accumulate(histogram.counts), strict=True)
            histograms.add_metric(labels, list(counts), histogram.total)
        return histograms
    kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
    family = kind(f"fairprice_{metric.name}", metric.help, labels=metric.labels)
    for labels, value in _checked(metric, rows):
        family.add_metric(labels, value)
    return family


def _checked(
    metric: Metric, rows: list[tuple[tuple[str, ...], float | Histogram]]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for labels, value in rows:
        if len(labels) != len(metric.labels):
            raise ValueError(f"a sample of {metric.name} has the labels {labels}, the table {metric.labels}")
        yield labels, value
