"""What lies behind the price: depth, and the side to which the book leans."""

from grafana_foundation_sdk.builders.common import ScaleDistributionConfig
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, RowsHeatmapOptions, YAxisConfig
from grafana_foundation_sdk.builders.heatmap import Panel as Heatmap
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphTransform, ScaleDistribution
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale

from fairprice.estimates import ESTIMATES
from grafana.market.queries import (
    ASK,
    BID,
    BPS,
    BY_TIME,
    HOLE,
    IN_RANGE,
    LEVELS,
    POINTS,
    TICKS,
    over_time,
)
from grafana.panels import GREEN, PLAIN, PURPLE, SKY, TEXT, InfluxQL, Placed, framed, lines, placed

HEAT = "${__interval_ms} < 600000"
DISTANCES = (1, 2, 5, 10, 25, 50, 100, 250, 500)
"""Basis points from the mid, as `FAIRPRICE_DEPTH_DISTANCES` has them unless it is set."""

HOURS = "No data: this is drawn from ticks, choose a range of at most 6 hours"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_heat_map(), 16, 11), placed(_depth(), 8, 11),
        placed(_whole_heat_map(), 16, 9), placed(_whole(), 8, 9),
        placed(_estimates(), 12, 8), placed(_imbalance(), 12, 8),
    )  # fmt: skip


def _heat_map() -> Heatmap:
    bids = [f'mean(bid_size_{level:02}) AS "-{level + 1}"' for level in reversed(range(LEVELS))]
    asks = [f'mean(ask_size_{level:02}) AS "{level + 1}"' for level in range(LEVELS)]
    panel = _heated(
        "Depth around the price",
        "Size of each level of the book over time. Rows count from the price outwards: -1 is the best bid, 1 the best"
        " ask. Bright is much. For ranges of at most a day.",
        InfluxQL(f"SELECT {', '.join(bids + asks)} FROM order_book WHERE {IN_RANGE} AND {HEAT} {BY_TIME} fill(none)"),
        exponent=0.5,
    )
    return panel.interval("1s").rows_frame(RowsHeatmapOptions().value("size"))


def _whole_heat_map() -> Heatmap:
    rings = list(zip((0, *DISTANCES), DISTANCES, strict=False))
    bids = [_density("bid", *ring, f"-{ring[1]}") for ring in reversed(rings)]
    asks = [_density("ask", *ring, str(ring[1])) for ring in rings]
    panel = _heated(
        "Depth of the whole book over time",
        "Base quantity a basis point, of all levels that the exchange has: each row reaches from the distance of the"
        " row nearer to the price to its own, in basis points of the mid, asks above and bids below. A wall stays"
        " bright while the price comes nearer. What a crawler does not know is left out. For ranges of at most a day.",
        InfluxQL(f"SELECT {', '.join(bids + asks)} FROM depth WHERE {IN_RANGE} AND {HEAT} {BY_TIME} fill(none)"),
        exponent=0.3,
    )
    return panel.interval("5s").rows_frame(RowsHeatmapOptions().value("a basis point"))


def _density(side: str, near: int, far: int, name: str) -> str:
    """Return the column of what lies between two distances, a basis point."""
    inside = f" - mean({side}_quantity_{near}bps)" if near else ""
    return f'(mean({side}_quantity_{far}bps){inside}) / {far - near} AS "{name}"'


def _heated(title: str, description: str, query: InfluxQL, *, exponent: float) -> Heatmap:
    """Return a heat map whose rows are a query's columns, bids below asks; the exponent lifts what is little."""
    panel = framed(Heatmap(), title, description, PLAIN, query)
    panel.max_data_points(240).no_value("No data: choose a range of at most a day")
    panel.calculate(calculate=False).cell_gap(0)
    colour = HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Viridis").steps(64).reverse(reverse=False)
    panel.color(colour.scale(HeatmapColorScale.EXPONENTIAL).exponent(exponent).fill(SKY))
    panel.y_axis(YAxisConfig().axis_label("asks above, bids below").unit("none").decimals(0))
    return panel.show_legend()


def _depth() -> TimeSeries:
    panel = lines(
        "Depth within bands of the mid",
        "Base quantity of all bids (above) and all asks (below) within so many basis points of the mid. A band that"
        " reaches beyond the published levels has no value: raise FAIRPRICE_BOOK_LEVELS to see it.",
        PLAIN,
        *over_time("mean(/^depth_(bid|ask)_/)"),
    )
    panel.span_nulls(HOLE)
    return _bids_above_asks(panel, "mean_depth_(bid|ask)_(.+)bps")


def _whole() -> TimeSeries:
    panel = lines(
        "Depth of the whole book",
        "Base quantity of all bids (above) and all asks (below) that the exchange has within so many basis points of"
        " the mid, however many levels these are. A distance beyond what the crawler knows has no value: raise"
        " FAIRPRICE_SNAPSHOT_LEVELS to see it. FAIRPRICE_DEPTH_DISTANCES says which there are.",
        PLAIN,
        InfluxQL(f"SELECT mean(/^(bid|ask)_quantity_/) FROM depth WHERE {IN_RANGE} AND {TICKS} {BY_TIME} fill(none)"),
    )
    panel.axis_label("asks below, bids above").scale_distribution(_by_orders_of_magnitude())
    return _bids_above_asks(panel, "mean_(bid|ask)_quantity_(.+)bps")


def _by_orders_of_magnitude() -> ScaleDistributionConfig:
    """Return a scale on which a few coins at the top and thousands far away are both seen, and zero is zero."""
    return ScaleDistributionConfig().type(ScaleDistribution.SYMLOG).log(10).linear_threshold(1)


def _bids_above_asks(panel: TimeSeries, names: str) -> TimeSeries:
    """Return the panel with its values named, bids above zero and asks below; `names` finds side and distance."""
    panel.max_data_points(POINTS).no_value(HOURS).fill_opacity(12)
    for regex, pattern in ((names, "$1s within $2 bps"), (r"(\d)_(\d+) bps", "$1.$2 bps")):
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
        return over_time(f'{difference} AS "{estimate.replace("_", " ")}"')[0]

    panel = lines(
        "How far the estimates lie from the mid",
        "Above zero the estimate sees more pressure to buy than to sell. The weighted mid leans by the sizes at the"
        " top, the impact mid and the curve mid, which is the price unless somebody chose another, by the depth behind"
        " it. The forecast is where the mid is expected in a second; it lies outside of bid and ask nearly always.",
        BPS,
        *(from_mid(name) for name in ESTIMATES if name != "mid"),
        colours={"weighted mid": SKY, "impact mid": PURPLE, "curve mid": TEXT, "forecast mid": GREEN},
    )
    return panel.max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)


def _imbalance() -> TimeSeries:
    panel = lines(
        "Imbalance at the top over time",
        "Mean of (bid size - ask size) / (bid size + ask size) of the best prices: above zero bids weigh more.",
        "none",
        *over_time("mean(imbalance) AS imbalance"),
        colours={"imbalance": SKY},
    )
    return panel.min(-1).max(1).max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)
