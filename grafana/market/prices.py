"""The price over time as a line and as candles, with the book and the spread beside them."""

from grafana_foundation_sdk.builders.candlestick import CandlestickColors, CandlestickFieldMap
from grafana_foundation_sdk.builders.candlestick import Panel as Candlestick
from grafana_foundation_sdk.builders.common import ScaleDistributionConfig, VizLegendOptions
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.candlestick import CandleStyle, ColorStrategy, VizDisplayMode
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    LegendDisplayMode,
    ScaleDistribution,
    TableBarGaugeCellOptions,
    TableCellHeight,
    TableColorTextCellOptions,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from grafana.market.queries import (
    ASK,
    BID,
    BPS,
    DETAIL,
    DOWN,
    HOLE,
    LEVELS,
    POINTS,
    PRICE_DECIMALS,
    PRICED,
    SYMBOL,
    UP,
    over_time,
)
from grafana.panels import GREY, PLAIN, PURPLE, SKY, TEXT, InfluxQL, Placed, fixed, framed, lines, placed

OPACITY = DynamicConfigValue("custom.fillOpacity", 12)


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_price(), 16, 11), placed(_book(), 8, 11),
        placed(_candles(), 16, 9), placed(_spread(), 8, 9),
    )  # fmt: skip


def _price() -> TimeSeries:
    panel = lines(
        "Fair price between bid and ask",
        f"{DETAIL} In bars the band is from the lowest to the highest fair price of each. A hole in a line is a"
        " time without trusted prices; a red line marks a gap in the exchange's stream"
        " that no crawler has filled.",
        PLAIN,
        *over_time(
            "mean(bid) AS bid, mean(ask) AS ask",
            "min(low) AS lowest, max(high) AS highest",
        ),
        *over_time('mean(price) AS "fair price"', 'last(close) AS "fair price"', which=PRICED),
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
        *over_time(
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
        *over_time(
            "mean(spread_bps) AS mean, max(spread_bps) AS widest",
            "mean(spread) * 10000 / mean(close) AS mean",
        ),
        colours={"mean": SKY, "widest": PURPLE},
    )
    logarithmic = ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
    return panel.scale_distribution(logarithmic).max_data_points(POINTS).span_nulls(HOLE)
