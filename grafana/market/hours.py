"""What is proven of each hour: whether its books were compared, what disagreed, and what is missing."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.models.common import LegendDisplayMode, VisibilityMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardRangeMapOptions,
    DataTransformerConfig,
    DynamicConfigValue,
    RangeMap,
    ValueMappingResult,
)

from grafana.market.queries import IN_RANGE, MINUTES
from grafana.panels import BAD, GOOD, WARNING, InfluxQL, Placed, framed, placed

WITH_PRICES, COMPARED = "minutes with prices", "minutes compared"
NOT_COMPARED, WRONG, MISSING = "not compared", "disagreeing", "missing"
BY_HOUR = "GROUP BY time(1h) fill(0)"
MOST = 1_000_000_000_000


def panels() -> Placed:
    """Return the row's panels."""
    return (placed(_hours(), 24, 6),)


def _hours() -> StateTimeline:
    """Return a line for each thing that keeps an hour from being verified; InfluxQL has no joins, Grafana has."""
    panel = framed(
        StateTimeline(),
        "Hours: compared, agreeing, complete",
        "The last day by the hour. Compared: in each minute with prices a book's top was held against the exchange's"
        " own ticker; else the hour is not verified. Disagreeing: tops that differed from it, levels that differed from"
        " a fresh snapshot. Missing: ids of gaps that no row covers. What no gap tells is found by `storer audit`.",
        "none",
        InfluxQL(f'SELECT count(close) AS "{WITH_PRICES}" FROM {MINUTES} WHERE {IN_RANGE} {BY_HOUR}', table=True),
        InfluxQL(f'SELECT count(tops) AS "{COMPARED}" FROM audit WHERE {IN_RANGE} {BY_HOUR}', table=True),
        InfluxQL(f'SELECT sum(wrong) AS "{WRONG} tops" FROM audit WHERE {IN_RANGE} {BY_HOUR}', table=True),
        InfluxQL(f'SELECT sum(levels_wrong) AS "{WRONG} levels" FROM audit WHERE {IN_RANGE} {BY_HOUR}', table=True),
        InfluxQL(f'SELECT sum(open_ids) AS "{MISSING} ids" FROM gap WHERE {IN_RANGE} {BY_HOUR}', table=True),
    )
    panel.time_from("24h").no_value("nothing to compare")
    panel.show_value(VisibilityMode.AUTO).merge_values(merge_values=False).row_height(0.8).fill_opacity(80)
    panel.legend(VizLegendOptions().show_legend(show_legend=False).display_mode(LegendDisplayMode.LIST))
    panel.with_transformation(DataTransformerConfig("joinByField", options={"byField": "Time", "mode": "outer"}))
    difference = {"left": WITH_PRICES, "operator": "-", "right": COMPARED}
    panel.with_transformation(
        DataTransformerConfig(
            "calculateField",
            options={"alias": NOT_COMPARED, "binary": difference, "mode": "binary", "reduce": {"reducer": "sum"}},
        )
    )
    hidden = {WITH_PRICES: True, COMPARED: True}
    panel.with_transformation(DataTransformerConfig("organize", options={"excludeByName": hidden}))
    for lane, good, bad in (
        (NOT_COMPARED, ("all compared", GOOD), ("not verified", WARNING)),
        (f"{WRONG} tops", ("none", GOOD), ("suspect", BAD)),
        (f"{WRONG} levels", ("none", GOOD), ("suspect", BAD)),
        (f"{MISSING} ids", ("none", GOOD), ("hole", BAD)),
    ):
        panel.override_by_name(lane, [_words(good, bad)])
    return panel


def _words(good: tuple[str, str], bad: tuple[str, str]) -> DynamicConfigValue:
    """Return the words and colours of no more than nothing, and of something."""
    return DynamicConfigValue("mappings", [_range(-MOST, 0, good), _range(1, MOST, bad)])


def _range(first: float, last: float, shown: Sequence[str]) -> RangeMap:
    text, colour = shown
    return RangeMap(DashboardRangeMapOptions(first, last, ValueMappingResult(text, colour)))
