# ruff: noqa: S608  these are queries of a read-only user, and nobody else has a word in them
"""The dashboard Market: what the price is, whether to trust it, and how the market around it looks."""

from grafana_foundation_sdk.builders.candlestick import CandlestickColors, CandlestickFieldMap
from grafana_foundation_sdk.builders.candlestick import Panel as Candlestick
from grafana_foundation_sdk.builders.common import ReduceDataOptions, ScaleDistributionConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, Dashboard, QueryVariable
from grafana_foundation_sdk.builders.gauge import Panel as Gauge
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, RowsHeatmapOptions, YAxisConfig
from grafana_foundation_sdk.builders.heatmap import Panel as Heatmap
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.candlestick import CandleStyle, ColorStrategy, VizDisplayMode
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueTextMode,
    GraphTransform,
    LegendDisplayMode,
    ScaleDistribution,
    TableBarGaugeCellOptions,
    TableCellHeight,
    TableColorTextCellOptions,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardRegexMapOptions,
    DashboardSpecialValueMapOptions,
    DataTransformerConfig,
    DynamicConfigValue,
    RegexMap,
    SpecialValueMap,
    SpecialValueMatch,
    ValueMappingResult,
    VariableOption,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale

from grafana.panels import (
    BAD,
    GOOD,
    GREY,
    INFLUXDB,
    INTERVAL,
    ORANGE,
    PLAIN,
    PURPLE,
    SKY,
    TEXT,
    WARNING,
    InfluxQL,
    board,
    chosen,
    fixed,
    framed,
    lines,
    placed,
    promql,
    stat,
    thresholds,
    variable,
    words,
)

BID, ASK = SKY, ORANGE
UP, DOWN = SKY, ORANGE
BPS = "suffix:bps"
OPACITY = DynamicConfigValue("custom.fillOpacity", 12)
LEVELS = 20
"""Levels a side that are shown; fewer are stored where `FAIRPRICE_BOOK_LEVELS` is lower."""

SYMBOL = "venue = '$venue' AND symbol = '$symbol'"
IN_RANGE = f"{SYMBOL} AND $timeFilter"
TICKS = "${__interval_ms} < 60000"
"""Only where points are less than a minute apart; else InfluxDB finds the condition false and reads nothing. So ticks
are read for hours at most, and where they would be too many the one-minute bars take their place."""

BARS = "${__interval_ms} >= 60000"
HEAT = "${__interval_ms} < 600000"
BY_TIME = f"GROUP BY time({INTERVAL})"
FRESH = "10s"
"""A price older than that is none: twice the age at which the gateway calls it stale."""

MINUTES = '"bars"."autogen"."fair_price_1m"'
POINTS = 600
HOLE = 5_000
"""Milliseconds that a line bridges; longer holes stay visible."""

DETAIL = "Ticks; from about eight hours on the one-minute bars, which are kept for ever."
HOURS = "No data: this is drawn from ticks, choose a range of at most 6 hours"
PRICE_DECIMALS = 4


def dashboard() -> Dashboard:
    """Return the dashboard."""
    about = "Fair price, spread and depth of one symbol at one venue, from the last minute to years."
    market = board("Market", "market", about, "5m")
    market.with_variable(_venue()).with_variable(_symbol()).annotation(_gaps())
    for panel, width, height in (
        (_price_now(), 5, 4), (_status(), 3, 4), (_trading(), 2, 4), (_age(), 3, 4), (_spread_now(), 3, 4),
        (_change(), 2, 4), (_gap_count(), 2, 4), (_imbalance_now(), 4, 4),
        (_price(), 16, 11), (_book(), 8, 11),
        (_candles(), 16, 9), (_spread(), 8, 9),
        (_heat_map(), 16, 11), (_depth(), 8, 11),
        (_estimates(), 8, 8), (_imbalance(), 8, 8), (_venues(), 8, 8),
    ):  # fmt: skip
        market.with_panel(placed(panel, width, height))
    return market


def _venue() -> QueryVariable:
    return variable("venue", INFLUXDB, 'SHOW TAG VALUES FROM "fair_price" WITH KEY = "venue"')


def _symbol() -> QueryVariable:
    query = 'SHOW TAG VALUES FROM "fair_price" WITH KEY = "symbol" WHERE venue = \'$venue\''
    usual = VariableOption(selected=True, text="BTCUSDT", value="BTCUSDT")
    return variable("symbol", INFLUXDB, query).current(usual)


def _gaps() -> AnnotationQuery:
    gaps = InfluxQL(f"SELECT reason FROM gap WHERE {IN_RANGE} LIMIT 500", table=True, text="reason")
    return AnnotationQuery().name("Gaps").datasource(INFLUXDB).enable(enable=True).icon_color(BAD).target(gaps)


def _last(columns: str) -> InfluxQL:
    return InfluxQL(
        f"SELECT {columns} FROM fair_price WHERE {SYMBOL} AND time > now() - {FRESH} ORDER BY time DESC LIMIT 1",
        table=True,
    )


def _over_time(ticks: str, bars: str = "", fill: str = "null") -> tuple[InfluxQL, ...]:
    """Return the queries of a line: from ticks, and where there would be too many, from bars."""
    end = f"{BY_TIME} fill({fill})"
    queries = [InfluxQL(f"SELECT {ticks} FROM fair_price WHERE {IN_RANGE} AND {TICKS} {end}")]
    if bars:
        queries.append(InfluxQL(f"SELECT {bars} FROM {MINUTES} WHERE {IN_RANGE} AND {BARS} {end}"))
    return tuple(queries)


def _price_now() -> Stat:
    panel = stat(
        "Fair price of $symbol now",
        f"The newest price, if it is at most {FRESH} old. Words take its place when it must not be trusted: the status"
        " beside it says why.",
        PLAIN,
        _last("price, status"),
    )
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("/^price$/").values(values=False))
    panel.decimals(PRICE_DECIMALS).no_value("no fresh price").text_mode(BigValueTextMode.VALUE)
    untrusted = ValueMappingResult("not to be trusted", BAD)
    return panel.mappings([SpecialValueMap(DashboardSpecialValueMapOptions(SpecialValueMatch.NULL_AND_NAN, untrusted))])


def _status() -> Stat:
    panel = stat(
        "Status of the price",
        "Whether the newest price can be trusted: trusted (ok), locked (bid and ask meet), or the reason why there is"
        " none: crossed, no_bids, no_asks, empty, beyond_reach, insufficient_depth, feed_truncated.",
        "string",
        _last("status"),
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
    queries = _over_time("mean(spread_bps) AS spread", "mean(spread) * 10000 / mean(close) AS spread", "none")
    return stat(
        "Spread", "Ask minus bid, in basis points of the mid; the line is its course.", BPS, *queries, trend=True
    ).max_data_points(POINTS)


def _change() -> Stat:
    where = f"WHERE {IN_RANGE} AND"
    panel = stat(
        "Change in the range",
        f"From the first to the last price of the chosen range. {DETAIL}",
        "percent",
        InfluxQL(f"SELECT last(price) * 100 / first(price) - 100 AS change FROM fair_price {where} {TICKS}"),
        InfluxQL(f"SELECT last(close) * 100 / first(open) - 100 AS change FROM {MINUTES} {where} {BARS}"),
        steps=((-100, DOWN), (0, UP)),
    )
    return panel.max_data_points(POINTS).decimals(2)


def _gap_count() -> Stat:
    return stat(
        "Gaps",
        "Holes in the exchange's stream that begin in the range; each is a red line in the charts. Now and then one is"
        " normal, each hour one is not.",
        "none",
        InfluxQL(f"SELECT count(reason) AS gaps FROM gap WHERE {IN_RANGE}"),
        steps=((1, WARNING),),
    ).no_value("0")


def _imbalance_now() -> Gauge:
    panel = framed(
        Gauge(),
        "Imbalance at the top",
        "Size of the best bid against that of the best ask: 1 only bids, -1 only asks. The price is more likely to"
        " move towards the smaller side.",
        "none",
        _last("imbalance"),
    )
    panel.min(-1).max(1).decimals(2).no_value("no fresh price")
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    return panel.thresholds(thresholds(((-1, ASK), (-0.3, GREY), (0.3, BID))))


def _price() -> TimeSeries:
    panel = lines(
        "Fair price between bid and ask",
        f"{DETAIL} In bars the band is from the lowest to the highest fair price of each. A hole in a line is a"
        " time without trusted prices; a red line marks a gap in the exchange's stream.",
        PLAIN,
        *_over_time(
            'mean(bid) AS bid, mean(ask) AS ask, mean(price) AS "fair price"',
            'min(low) AS lowest, max(high) AS highest, last(close) AS "fair price"',
        ),
        colours={"bid": BID, "ask": ASK, "lowest": GREY, "highest": GREY},
    )
    panel.decimals(PRICE_DECIMALS).max_data_points(POINTS).span_nulls(HOLE)
    for top, bottom in (("ask", "bid"), ("highest", "lowest")):
        panel.override_by_name(top, [DynamicConfigValue("custom.fillBelowTo", bottom), OPACITY])
    return panel.override_by_name("fair price", [fixed(TEXT), DynamicConfigValue("custom.lineWidth", 2)])


def _book() -> Table:
    levels = ", ".join(_level(f"{level:02}") for level in range(LEVELS))
    panel = framed(
        Table(),
        "Order book now",
        f"The newest stored book, at most a minute old: the best {LEVELS} levels of each side, best first, with their"
        " sizes. Books are stored once a second.",
        PLAIN,
        InfluxQL(f'SELECT "Bid size", "Bid", "Ask", "Ask size" FROM {levels}', table=True),
    )
    panel.with_transformation(
        DataTransformerConfig("sortBy", options={"fields": {}, "sort": [{"field": "Bid", "desc": True}]})
    )
    panel.with_transformation(DataTransformerConfig("organize", options={"excludeByName": {"Time": True}}))
    panel.cell_height(TableCellHeight.SM).decimals(PRICE_DECIMALS).no_value("no book of the last minute")
    bar = DynamicConfigValue("custom.cellOptions", TableBarGaugeCellOptions(mode=BarGaugeDisplayMode.BASIC))
    text = DynamicConfigValue("custom.cellOptions", TableColorTextCellOptions())
    for side, colour in (("Bid", BID), ("Ask", ASK)):
        panel.override_by_name(side, [text, fixed(colour)])
        panel.override_by_name(f"{side} size", [bar, fixed(colour), DynamicConfigValue("min", 0)])
    return panel


def _level(number: str) -> str:
    """Return a level of the newest book as a subquery: one row, so that all of them make a table."""
    columns = (
        f'last(bid_size_{number}) AS "Bid size", bid_price_{number} AS "Bid",'
        f' ask_price_{number} AS "Ask", ask_size_{number} AS "Ask size"'
    )
    return f"(SELECT {columns} FROM order_book WHERE {SYMBOL} AND time > now() - 1m)"


def _candles() -> Candlestick:
    panel = framed(
        Candlestick(),
        "Candles of the fair price",
        "Open, highest, lowest and last fair price; a candle is as long as the range asks for, at least a second."
        " From about two hours on they are made of the one-minute bars, which are kept for ever and a minute late.",
        PLAIN,
        *_over_time(
            "first(price) AS open, max(price) AS high, min(price) AS low, last(price) AS close",
            "first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close",
            "none",
        ),
    )
    panel.max_data_points(120).interval("1s").decimals(PRICE_DECIMALS)
    panel.mode(VizDisplayMode.CANDLES).candle_style(CandleStyle.CANDLES).color_strategy(ColorStrategy.OPEN_CLOSE)
    panel.colors(CandlestickColors().up(UP).down(DOWN).flat(GREY))
    panel.fields(CandlestickFieldMap().open("open").high("high").low("low").close("close"))
    return panel.legend(VizLegendOptions().show_legend(show_legend=False).display_mode(LegendDisplayMode.LIST))


def _spread() -> TimeSeries:
    panel = lines(
        "Spread in basis points",
        "Ask minus bid, relative to the mid: what it costs to buy and sell at once. Each step of the scale is ten times"
        f" the one before. {DETAIL}",
        BPS,
        *_over_time(
            "mean(spread_bps) AS mean, max(spread_bps) AS widest",
            "mean(spread) * 10000 / mean(close) AS mean",
        ),
        colours={"mean": SKY, "widest": PURPLE},
    )
    logarithmic = ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
    return panel.scale_distribution(logarithmic).max_data_points(POINTS).span_nulls(HOLE)


def _heat_map() -> Heatmap:
    bids = [f'mean(bid_size_{level:02}) AS "-{level + 1}"' for level in reversed(range(LEVELS))]
    asks = [f'mean(ask_size_{level:02}) AS "{level + 1}"' for level in range(LEVELS)]
    panel = framed(
        Heatmap(),
        "Depth around the price",
        "Size of each level of the book over time. Rows count from the price outwards: -1 is the best bid, 1 the best"
        " ask. Bright is much. For ranges of at most a day.",
        PLAIN,
        InfluxQL(f"SELECT {', '.join(bids + asks)} FROM order_book WHERE {IN_RANGE} AND {HEAT} {BY_TIME} fill(none)"),
    )
    panel.max_data_points(240).interval("1s").no_value("No data: choose a range of at most a day")
    panel.calculate(calculate=False).cell_gap(0)
    colour = HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Viridis").steps(64).reverse(reverse=False)
    panel.color(colour.scale(HeatmapColorScale.EXPONENTIAL).exponent(0.5).fill(SKY))
    panel.y_axis(YAxisConfig().axis_label("asks above, bids below").unit("none").decimals(0))
    panel.rows_frame(RowsHeatmapOptions().value("size"))
    return panel.show_legend()


def _depth() -> TimeSeries:
    panel = lines(
        "Depth within bands of the mid",
        "Base quantity of all bids (above) and all asks (below) within so many basis points of the mid. A band that"
        " reaches beyond the published levels has no value: raise FAIRPRICE_BOOK_LEVELS to see it.",
        PLAIN,
        *_over_time("mean(/^depth_(bid|ask)_/)"),
    )
    panel.max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS).fill_opacity(12)
    for regex, pattern in (("mean_depth_(bid|ask)_(.+)bps", "$1s within $2 bps"), (r"(\d)_(\d+) bps", "$1.$2 bps")):
        options = {"regex": regex, "renamePattern": pattern}
        panel.with_transformation(DataTransformerConfig("renameByRegex", options=options))
    panel.override_by_regexp("/^bid/", [_shades(BID)])
    mirror = DynamicConfigValue("custom.transform", GraphTransform.NEGATIVE_Y)
    return panel.override_by_regexp("/^ask/", [_shades(ASK), mirror])


def _shades(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": "shades", "fixedColor": colour})


def _estimates() -> TimeSeries:
    def from_mid(estimate: str) -> InfluxQL:
        difference = f"(mean({estimate}) - mean(mid)) * 10000 / mean(mid)"
        return _over_time(f'{difference} AS "{estimate.replace("_", " ")}"')[0]

    panel = lines(
        "How far the estimates lie from the mid",
        "Above zero the estimate sees more pressure to buy than to sell. The weighted mid leans by the sizes at the"
        " top, the impact mid by the depth behind it.",
        BPS,
        from_mid("weighted_mid"),
        from_mid("impact_mid"),
        colours={"weighted mid": SKY, "impact mid": PURPLE},
    )
    return panel.max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)


def _venues() -> TimeSeries:
    mids = f"SELECT mean(mid) AS mid FROM fair_price WHERE symbol = '$symbol' AND $timeFilter AND {TICKS}"
    panel = lines(
        "The same symbol at every venue",
        "The mid of $symbol wherever it is followed. What lies between two lines is the basis, which the gateway's page"
        " tells in basis points.",
        PLAIN,
        InfluxQL(f"{mids} GROUP BY time({INTERVAL}), venue fill(null)", alias="$tag_venue"),
        calcs=["lastNotNull"],
    )
    return panel.decimals(PRICE_DECIMALS).max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)


def _imbalance() -> TimeSeries:
    panel = lines(
        "Imbalance at the top over time",
        "Mean of (bid size - ask size) / (bid size + ask size) of the best prices: above zero bids weigh more.",
        "none",
        *_over_time("mean(imbalance) AS imbalance"),
        colours={"imbalance": SKY},
    )
    return panel.min(-1).max(1).max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)
