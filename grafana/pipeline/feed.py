"""How fast, how fresh and how complete the prices are."""

from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphDrawStyle
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.panels import GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, Placed, chosen, fixed, lines, placed, promql
from grafana.pipeline.queries import EACH, PER_SECOND, RATE, STALE_SECONDS, a_minute, a_second, quantile_of

DIFFS = 'kind="diff"'

ROW = "Feed: from the exchange to the prices"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_events(), 12, 9), placed(_latency(), 12, 9),
        placed(_gaps(), 8, 8), placed(_age(), 8, 8), placed(_untrusted(), 8, 8),
        placed(_live(), 12, 8), placed(_live_latency(), 12, 8),
    )  # fmt: skip


def _events() -> TimeSeries:
    return lines(
        "Events a second, stage by stage",
        "Books, prices and stored prices lie on each other while all is well; where they part, the later stage is"
        " behind. Of two crawlers' books each is priced once."
        " Each connection to the exchange brings every diff, so there are as many times more of them. Diffs and"
        " prices are those of the chosen venue, stored prices those of all.",
        PER_SECOND,
        promql(f"sum(rate({chosen('crawler_frames_total', DIFFS)}{RATE}))", "diffs received"),
        promql(f"sum(rate({chosen('crawler_books_total')}{RATE}))", "books published"),
        promql(f"sum(rate(fairprice_converter_copies_total{RATE}))", "books of another crawler"),
        promql(f"sum(rate({chosen('converter_prices_total')}{RATE}))", "prices published"),
        promql(f'sum(rate(fairprice_storer_rows_total{{measurement="fair_price"}}{RATE}))', "prices stored"),
        colours={
            "diffs received": GREY, "books published": SKY, "books of another crawler": PURPLE,
            "prices published": ORANGE, "prices stored": GREEN,
        },
        calcs=["lastNotNull"],
    ).min(0)  # fmt: skip


def _latency() -> TimeSeries:
    stages = {"crawler": ("received", GREY), "converter": ("priced", ORANGE), "storer": ("stored", GREEN)}
    queries = [
        promql(quantile_of(quantile, service), f"{name}{which}")
        for service, (name, _) in stages.items()
        for quantile, which in ((0.5, ""), (0.99, ", slowest 1 %"))
    ]
    panel = lines(
        "Time since the exchange's event, stage by stage",
        "Median and 99th percentile of the time from the exchange's event until it was received, priced and stored,"
        " read from histograms, so only as fine as their buckets. The first line is the way from the exchange, and the"
        " difference of two clocks.",
        "s",
        *queries,
        colours=dict(stages.values()),
        calcs=["lastNotNull"],
    ).min(0)
    dashed = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 4]})
    for name, colour in stages.values():
        panel.override_by_name(f"{name}, slowest 1 %", [fixed(colour), dashed])
    return panel


def _gaps() -> TimeSeries:
    panel = lines(
        "Gaps and synchronisations a minute",
        "Gaps are what one crawler missed of the exchange's stream, each stored with its update ids; another crawler"
        " may have filled them. A synchronisation builds a book anew from a snapshot.",
        "none",
        promql(a_minute("crawler_gaps"), "gaps"),
        promql(a_minute("storer_filled_gaps"), "gaps filled by another crawler"),
        promql(a_minute("crawler_resyncs"), "synchronisations"),
        promql(a_minute("crawler_reconnects"), "connections made again"),
        colours={
            "gaps": VERMILION,
            "gaps filled by another crawler": GREEN,
            "synchronisations": SKY,
            "connections made again": GREY,
        },
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _age() -> TimeSeries:
    panel = lines(
        "Age of the newest price",
        f"Time since the gateway received it; from {STALE_SECONDS} seconds on it counts as stale.",
        "s",
        promql(f"min by (venue, symbol) ({chosen('gateway_price_age_seconds')})", EACH),
        calcs=["max"],
    )
    return panel.min(0).axis_soft_max(1)


def _untrusted() -> TimeSeries:
    return lines(
        "Prices a second by status",
        "ok and locked carry a price; any other status says why there is none.",
        PER_SECOND,
        promql(f"sum by (status) (rate({chosen('converter_prices_total')}{RATE}))", "{{status}}"),
        colours={"ok": GREEN, "locked": ORANGE},
    ).min(0)


def _live() -> TimeSeries:
    return lines(
        "Live view: quotes a second",
        "Best bids and asks between the books, for whoever looks on; nothing of it is stored, and what finds no way at"
        " once is dropped. All are 0 unless FAIRPRICE_QUOTE_INTERVAL is set.",
        PER_SECOND,
        promql(a_second("crawler_quotes"), "quotes made"),
        promql(a_second("converter_live_prices"), "quotes priced"),
        promql(f"sum(rate(fairprice_converter_quote_copies_total{RATE})) or vector(0)", "quotes of another crawler"),
        promql(f'sum(rate(fairprice_broker_casts_total{{outcome="dropped"}}{RATE})) or vector(0)', "dropped"),
        promql(f"sum(rate(fairprice_converter_invalid_quotes_total{RATE})) or vector(0)", "invalid"),
        colours={
            "quotes made": SKY, "quotes priced": ORANGE, "quotes of another crawler": PURPLE, "dropped": GREY,
            "invalid": VERMILION,
        },
        calcs=["lastNotNull"],
    ).min(0)  # fmt: skip


def _live_latency() -> TimeSeries:
    buckets = f"rate(fairprice_converter_live_latency_seconds_bucket{RATE})"
    return lines(
        "Live view: from a best bid and ask to its price",
        "Median and 99th percentile of the time from the arrival of a best bid and ask at the crawler until it was"
        " priced, as fine as the buckets of the histogram. 0 while there are no quotes.",
        "s",
        *(
            promql(f"(histogram_quantile({quantile}, sum by (le) ({buckets})) > 0) or vector(0)", name)
            for quantile, name in ((0.5, "median"), (0.99, "slowest 1 %"))
        ),
        colours={"median": ORANGE, "slowest 1 %": VERMILION},
        calcs=["lastNotNull"],
    ).min(0)
