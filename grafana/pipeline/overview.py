"""The first row: seven figures that answer whether all is well, and what is not."""

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels import BAD, GOOD, GREY, PURPLE, WARNING, Placed, chosen, framed, placed, promql, stat, states
from grafana.pipeline.queries import (
    EACH,
    JOBS,
    QUEUES,
    RATE,
    STALE_SECONDS,
    quantile_of,
    queues,
)

_IN_SYNC = f"max by (venue, symbol) ({chosen('crawler_in_sync')})"
_FRESH = f"(min by (venue, symbol) ({chosen('gateway_price_age_seconds')}) < bool {STALE_SECONDS})"
_FOLLOWED = f"max by (venue, symbol) (max_over_time({chosen('crawler_in_sync')}[15m]))"
_HALTED = f"4 + (max by (venue, symbol) ({chosen('crawler_trading')}) == 0)"
FEED_STATE = f"{_HALTED} or 2 * {_IN_SYNC} + ({_FRESH} or 0 * {_IN_SYNC}) or {_FRESH} or 0 * {_FOLLOWED}"
"""2 for a book in sync and 1 for a fresh price, also where crawler or gateway or both are gone; 4 for a halt."""

FEED_STATES = (
    ("down", BAD), ("synchronising", PURPLE), ("no fresh price", WARNING), ("live", GOOD),
    ("halted by the exchange", GREY),
)  # fmt: skip
LIVE = 3


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_missing_services(), 3, 4), placed(_firing(), 3, 4), placed(_symbols_not_live(), 3, 4),
        placed(_latency_now(), 4, 4),
        placed(_throughput_now(), 4, 4), placed(_waiting(), 4, 4), placed(_gaps_now(), 3, 4),
        placed(_feed(), 12, 7), placed(_alerts(), 12, 7),
    )  # fmt: skip


def _missing_services() -> Stat:
    return stat(
        "Services missing",
        f"Of the {len(JOBS)} things that Prometheus scrapes, how many have no instance that answers."
        " Which: at the bottom of this page.",
        "none",
        promql(f"{len(JOBS)} - (count(count by (job) (up == 1)) or vector(0))", "missing", instant=True),
        steps=((0, GOOD), (1, BAD)),
    )


def _firing() -> Stat:
    return stat(
        "Alerts firing",
        "Rules of Prometheus that fire now; the list is below, what to do is in each rule (Alerting, Alert rules).",
        "none",
        promql('count(ALERTS{alertstate="firing"}) or vector(0)', "firing", instant=True),
        steps=((0, GOOD), (1, BAD)),
    )


def _symbols_not_live() -> Stat:
    return stat(
        "Symbols not live",
        f"Symbols whose book is out of sync or whose newest price is older than {STALE_SECONDS} seconds. Those that the"
        " exchange has halted are not counted.",
        "none",
        promql(f"count(({FEED_STATE}) < {LIVE}) or 0 * count({_FOLLOWED})", "symbols", instant=True),
        steps=((0, GOOD), (1, BAD)),
    ).no_value("no crawler")


def _latency_now() -> Stat:
    return stat(
        "Event to stored, slowest 1 %",
        "Time from the exchange's event to the stored price, 99th percentile. It rests on the clocks of the exchange"
        " and of this machine.",
        "s",
        promql(quantile_of(0.99, "storer"), "stored"),
        steps=((0, GOOD), (1, WARNING), (5, BAD)),
        trend=True,
    ).no_value("nothing stored")


def _throughput_now() -> Stat:
    panel = stat(
        "Prices stored a second",
        "Rows of fair_price that InfluxDB took; one for each change of a book.",
        "none",
        promql(f'sum(rate(fairprice_storer_rows_total{{measurement="fair_price"}}{RATE}))', "prices"),
        trend=True,
    )
    return panel.decimals(1).no_value("nothing stored")


def _waiting() -> Stat:
    return stat(
        "Messages waiting",
        "In the three queues of the pipeline, delivered or not. A busy moment fills them; they have to empty again.",
        "none",
        promql(f"sum(rabbitmq_detailed_queue_messages{queues(QUEUES)})", "waiting"),
        steps=((0, GOOD), (500, WARNING), (5_000, BAD)),
        trend=True,
    ).decimals(0)


def _gaps_now() -> Stat:
    return stat(
        "Open gaps",
        "Holes in the exchange's stream of the last day that no crawler has filled. What one of two crawlers missed"
        " counts for half a minute at most.",
        "none",
        promql(f"sum(max by (venue, symbol) ({chosen('storer_open_gaps')})) or vector(0)", "gaps", instant=True),
        steps=((0, GOOD), (1, WARNING)),
    ).decimals(0)


def _feed() -> StateTimeline:
    return states(
        "State of the feed",
        f"Live: the book is in sync and the gateway has a price of the last {STALE_SECONDS} seconds. No fresh price: in"
        " sync, but prices do not arrive: look at converter and broker. Synchronising: prices still arrive, the book"
        " just was lost. Down: neither. Halted: the exchange says that it does not trade the symbol now.",
        promql(FEED_STATE, EACH),
        names=FEED_STATES,
    )


def _alerts() -> Table:
    panel = framed(
        Table(),
        "Alerts that fire or are about to",
        "Pending ones fire when they last. What to do about each is told in Alerting, Alert rules.",
        "none",
        promql("sum by (alertname, severity, alertstate, job, venue, symbol, queue) (ALERTS)", "", instant=True).format(
            PromQueryFormat.TABLE
        ),
    ).no_value("Nothing is wrong")
    hidden = {"Time": True, "Value": True}
    names = {"alertname": "Alert", "severity": "Severity", "alertstate": "State", "job": "Service"}
    names |= {"venue": "Venue", "symbol": "Symbol", "queue": "Queue"}
    organized = {"excludeByName": hidden, "renameByName": names}
    panel.with_transformation(DataTransformerConfig("organize", options=organized))
    return panel.cell_height(TableCellHeight.SM)
