"""What the crawlers receive, ask for and compare."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphDrawStyle

from grafana.panels import (
    GOOD,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WARNING,
    Placed,
    chosen,
    lines,
    placed,
    promql,
    states,
)
from grafana.pipeline.queries import EACH, PER_SECOND, RATE, a_minute, each_minute

IN_ORDER = 'outcome!="out_of_order"'
CONTRADICTIONS = 'outcome="contradiction"'

ROW = "Crawler: what comes in, and whether it is right"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_audits(), 8, 8), placed(_unaudited(), 8, 8), placed(_skew(), 8, 8),
        placed(_diffs(), 8, 8), placed(_snapshots(), 8, 8), placed(_connections(), 8, 8),
        placed(_frames(), 6, 8), placed(_missing(), 6, 8), placed(_weight(), 6, 8), placed(_symbols(), 6, 8),
    )  # fmt: skip


def _audits() -> TimeSeries:
    return lines(
        "Comparisons of books with the exchange a minute",
        "How often the top of a book was compared with the exchange's own best bid and ask. A match is right; several"
        " mismatches in a row make a new synchronisation, so prices heal. Beyond the reach of its snapshot a book does"
        " not know its top: nothing is wrong, and there is no price until a new one has come. Now and then all levels"
        " are compared with a fresh snapshot; one that differs is a defect.",
        "none",
        promql(each_minute("outcome", "crawler_audits"), "{{outcome}}"),
        promql(a_minute("crawler_refreshes", CONTRADICTIONS), "snapshots that contradict the book"),
        promql(a_minute("crawler_levels", 'outcome="mismatch"'), "levels that differ"),
        colours={
            "match": GREEN,
            "mismatch": VERMILION,
            "levels that differ": PURPLE,
            "snapshots that contradict the book": ORANGE,
        },
    ).min(0)


def _unaudited() -> StateTimeline:
    return states(
        "Books with nothing to compare with",
        "Unchecked: the exchange has sent no best bid and ask that fits the book for a minute. Prices go on, but nobody"
        " vouches for them.",
        promql(f"max by (venue, symbol) ({chosen('crawler_unaudited')})", EACH),
        names=(("checked", GOOD), ("unchecked", WARNING)),
    )


def _skew() -> TimeSeries:
    panel = lines(
        "The exchange's clock against this machine's",
        "Event time minus the time of arrival: a little below zero is right, it is the way from the exchange. Above"
        " zero the exchange's clock is ahead of this machine's, far below zero behind: set this machine's by NTP.",
        "s",
        promql(f"max by (venue) ({chosen('crawler_clock_skew_seconds')})", "{{venue}}"),
        calcs=["lastNotNull"],
    )
    return panel.axis_soft_min(-1).axis_soft_max(1)


def _diffs() -> TimeSeries:
    return lines(
        "Diffs that made no book, a second",
        "By what became of them: stale ones came before by another connection, those behind a snapshot are inside it,"
        " waiting ones came before their snapshot. One that is out of order came after a later one.",
        PER_SECOND,
        promql(f"sum by (outcome) (rate({chosen('crawler_diffs_total', IN_ORDER)}{RATE}))", "{{outcome}}"),
        promql(f"sum(rate({chosen('crawler_out_of_order_total')}{RATE}))", "out of order"),
        promql(f"sum(rate({chosen('crawler_clock_back_total')}{RATE}))", "the exchange's clock went back"),
        colours={"out of order": ORANGE},
    ).min(0)


def _snapshots() -> TimeSeries:
    panel = lines(
        "Snapshots a minute",
        "Requests by REST, and what became of those that renewed a book in sync: taken, or a contradiction, which"
        " starts a new synchronisation.",
        "none",
        promql(each_minute("outcome", "crawler_snapshots"), "request {{outcome}}"),
        promql(each_minute("outcome", "crawler_refreshes"), "renewal: {{outcome}}"),
        colours={"request fetched": SKY, "request failed": VERMILION, "renewal: contradiction": ORANGE},
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _connections() -> TimeSeries:
    return lines(
        "Open connections to the exchange",
        "As many as FAIRPRICE_STREAM_CONNECTIONS says, more where the symbols do not fit on one; one more for a moment"
        " while a connection is replaced.",
        "none",
        promql(f"sum by (venue) ({chosen('crawler_connections')})", "{{venue}}"),
        calcs=["lastNotNull"],
    ).min(0)


def _symbols() -> TimeSeries:
    return lines(
        "Symbols followed",
        "All that FAIRPRICE_SYMBOLS chooses and the exchange lists, over all crawlers. Those that it lists later are"
        " followed within five minutes, those that it takes off its list are let go.",
        "none",
        promql(f"sum by (venue) ({chosen('crawler_symbols')})", "{{venue}}"),
        promql(each_minute("change", "crawler_symbol_changes"), "{{change}}"),
        calcs=["lastNotNull"],
    ).min(0)


def _frames() -> TimeSeries:
    return lines(
        "Frames received a second by kind",
        "Repeats came by another connection before. Invalid ones contradict the exchange's own protocol.",
        PER_SECOND,
        promql(f"sum by (kind) (rate({chosen('crawler_frames_total')}{RATE}))", "{{kind}}"),
        colours={"diff": SKY, "ticker": GREEN, "repeat": GREY, "invalid": VERMILION},
    ).min(0)


def _missing() -> TimeSeries:
    panel = lines(
        "Updates of the exchange missed a minute",
        "Update ids inside the gaps that a crawler recorded, each a change of the book; another crawler may have them.",
        "none",
        promql(f"60 * sum by (venue, symbol) (rate({chosen('crawler_missing_updates_total')}{RATE}))", EACH),
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _weight() -> TimeSeries:
    return lines(
        "REST weight used in this minute",
        "As the exchange reports it, for this machine's address. Snapshots wait when it comes near the limit.",
        "none",
        promql(f"max by (venue) ({chosen('crawler_request_weight')})", "{{venue}}"),
        calcs=["max"],
    ).min(0)
