"""Rows, batches and what the database refuses."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphDrawStyle

from grafana.panels import (
    BAD,
    GOOD,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Placed,
    chosen,
    lines,
    placed,
    promql,
    states,
)
from grafana.pipeline.queries import JOBS, PER_SECOND, QUEUES, RATE, a_minute

UNREADABLE = 'kind="invalid"'

ROW = "Store: what InfluxDB takes"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_rows(), 8, 8), placed(_replies(), 8, 8), placed(_failures(), 8, 8),
        placed(_batches(), 8, 8), placed(_trouble(), 8, 8), placed(_unknown_lines(), 8, 8),
    )  # fmt: skip


def _rows() -> TimeSeries:
    return lines(
        "Rows stored a second by measurement",
        "A fair_price row for each change of a book; an order_book row a second and symbol, unless set otherwise.",
        PER_SECOND,
        promql(f"sum by (measurement) (rate(fairprice_storer_rows_total{RATE}))", "{{measurement}}"),
        colours={"fair_price": GREEN, "order_book": SKY, "gap": VERMILION},
    ).min(0)


def _replies() -> TimeSeries:
    return lines(
        "InfluxDB's answers to writes, a second",
        "204: stored. 400 and 422: lines it cannot take, which become dead letters. 401, 403, 404: the storer's token"
        " or bucket is wrong. 5xx: overloaded; the storer keeps the rows and tries again.",
        PER_SECOND,
        promql(
            f'sum by (response_code) (rate(http_api_requests_total{{job="influxdb",path="/api/v2/write"}}{RATE}))',
            "{{response_code}}",
        ),
        colours={"204": GREEN, "400": ORANGE, "422": ORANGE, "401": VERMILION, "500": PURPLE, "503": PURPLE},
    ).min(0)


def _failures() -> TimeSeries:
    panel = lines(
        "What did not work, a minute",
        "Repeated writes: InfluxDB did not take a batch, which is tried again, as gaps are that it could not"
        " look at. Dead letters: lines that no service"
        " could read or InfluxDB refused. Invalid frames: the exchange sent what contradicts its own protocol.",
        "none",
        promql(a_minute("storer_failures"), "repeated writes"),
        promql(a_minute("storer_settlement_failures"), "gaps and bases not worked out"),
        promql(f"{a_minute('storer_invalid_lines')} + {a_minute('converter_invalid_lines')}", "dead letters"),
        promql(a_minute("crawler_frames", UNREADABLE), "invalid frames"),
        colours={"repeated writes": ORANGE, "dead letters": VERMILION, "invalid frames": PURPLE},
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _batches() -> TimeSeries:
    return lines(
        "Batches stored a second",
        "Writes that the store took, by the queue that they came from. Few and large ones while it is slow.",
        PER_SECOND,
        promql(f"sum by (queue) (rate({chosen('storer_batches_total')}{RATE}))", "{{queue}}"),
        colours=QUEUES,
    ).min(0)


def _trouble() -> StateTimeline:
    return states(
        "Whether the store takes what is written",
        "Trouble: the newest write of this queue was not taken and is repeated. Nothing is lost, messages wait.",
        promql(f"max by (queue) ({chosen('storer_trouble')})", "{{queue}}"),
        names=(("well", GOOD), ("trouble", BAD)),
    )


def _unknown_lines() -> TimeSeries:
    panel = lines(
        "Lines of a later version a minute",
        "Events that a newer service publishes and this one does not know. They are passed over; upgrade the service.",
        "none",
        promql(a_minute("converter_unknown_lines"), "converter"),
        promql(a_minute("storer_unknown_lines"), "storer"),
        colours=JOBS,
    )
    return panel.min(0).axis_soft_max(1)
