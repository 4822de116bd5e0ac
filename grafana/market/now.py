"""The first row: the price now, and whether to trust it."""

from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.gauge import Panel as Gauge
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardRegexMapOptions,
    DashboardSpecialValueMapOptions,
    RegexMap,
    SpecialValueMap,
    SpecialValueMatch,
    ValueMappingResult,
)

from grafana.market.queries import (
    ASK,
    BARS,
    BID,
    BPS,
    DETAIL,
    DOWN,
    FRESH,
    IN_RANGE,
    MINUTES,
    OPEN,
    POINTS,
    PRICE_DECIMALS,
    PRICED,
    TICKS,
    UP,
    last,
    over_time,
)
from grafana.panels import (
    BAD,
    GOOD,
    GREY,
    PLAIN,
    WARNING,
    InfluxQL,
    Placed,
    chosen,
    framed,
    placed,
    promql,
    stat,
    thresholds,
    words,
)


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_price_now(), 5, 4), placed(_status(), 3, 4), placed(_trading(), 2, 4),
        placed(_age(), 3, 4), placed(_spread_now(), 3, 4),
        placed(_change(), 2, 4), placed(_gap_count(), 2, 4), placed(_imbalance_now(), 4, 4),
    )  # fmt: skip


def _price_now() -> Stat:
    panel = stat(
        "Fair price of $symbol now",
        f"The newest price, if it is at most {FRESH} old. Words take its place when it must not be trusted: the status"
        " beside it says why.",
        PLAIN,
        last("price, status"),
    )
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("/^price$/").values(values=False))
    panel.decimals(PRICE_DECIMALS).no_value("no fresh price").text_mode(BigValueTextMode.VALUE)
    untrusted = ValueMappingResult("not to be trusted", BAD)
    return panel.mappings([SpecialValueMap(DashboardSpecialValueMapOptions(SpecialValueMatch.NULL_AND_NAN, untrusted))])


def _status() -> Stat:
    panel = stat(
        "Status of the price",
        "Whether the newest price can be trusted: trusted (ok), locked (bid and ask meet), or the reason why there is"
        " none: crossed, no_bids, no_asks, empty, beyond_reach, insufficient_depth, feed_truncated, learning.",
        "string",
        last("status"),
    )
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("/^status$/").values(values=False))
    panel.no_value("no fresh price").color_mode(BigValueColorMode.BACKGROUND)
    reason = RegexMap(DashboardRegexMapOptions("/.+/", ValueMappingResult(color=BAD)))
    return panel.mappings([words({"ok": ("trusted", GOOD), "locked": ("locked", WARNING)}), reason])


def _trading() -> Stat:
    panel = stat(
        "Exchange",
        "Whether the exchange says that it trades the symbol now. While it does not, no new price is no fault.",
        "none",
        promql(f"max({chosen('crawler_trading')})", "trading", instant=True),
    )
    panel.no_value("not followed").color_mode(BigValueColorMode.BACKGROUND)
    return panel.mappings([words({"1": ("trading", GOOD), "0": ("halted", WARNING)})])


def _age() -> Stat:
    panel = stat(
        "Age of the price",
        "Time since the gateway received the newest price. A price comes with every change of the book, on a busy"
        " symbol ten times a second.",
        "s",
        promql(f"min({chosen('gateway_price_age_seconds')})", "age", instant=True),
        steps=((0, GOOD), (2, WARNING), (5, BAD)),
    )
    return panel.decimals(1).no_value("no price yet")


def _spread_now() -> Stat:
    queries = over_time("mean(spread_bps) AS spread", "mean(spread) * 10000 / mean(close) AS spread", "none")
    return stat(
        "Spread", "Ask minus bid, in basis points of the mid; the line is its course.", BPS, *queries, trend=True
    ).max_data_points(POINTS)


def _change() -> Stat:
    where = f"WHERE {IN_RANGE} AND"
    panel = stat(
        "Change in the range",
        f"From the first to the last price of the chosen range. {DETAIL}",
        "percent",
        InfluxQL(
            f"SELECT last(price) * 100 / first(price) - 100 AS change FROM fair_price {where} {PRICED} AND {TICKS}"
        ),
        InfluxQL(f"SELECT last(close) * 100 / first(open) - 100 AS change FROM {MINUTES} {where} {BARS}"),
        steps=((-100, DOWN), (0, UP)),
    )
    return panel.max_data_points(POINTS).decimals(2)


def _gap_count() -> Stat:
    return stat(
        "Gaps",
        "Holes in the exchange's stream that begin in the range and that no crawler has filled; each is a red line in"
        " the charts. Now and then one is normal, each hour one is not.",
        "none",
        InfluxQL(f"SELECT count(reason) AS gaps FROM gap WHERE {IN_RANGE} AND {OPEN}"),
        steps=((1, WARNING),),
    ).no_value("0")


def _imbalance_now() -> Gauge:
    panel = framed(
        Gauge(),
        "Imbalance at the top",
        "Size of the best bid against that of the best ask: 1 only bids, -1 only asks. The price is more likely to"
        " move towards the smaller side.",
        "none",
        last("imbalance"),
    )
    panel.min(-1).max(1).decimals(2).no_value("no fresh price")
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    return panel.thresholds(thresholds(((-1, ASK), (-0.3, GREY), (0.3, BID))))
