"""What both dashboards are made of: data sources, queries, colours, and panels in one style.

The builders and their types are those of the Grafana Foundation SDK, https://grafana.github.io/grafana-foundation-sdk/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Protocol, Self, TypeVar

from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    FieldColor,
    QueryVariable,
    ThresholdsConfig,
    TimePicker,
)
from grafana_foundation_sdk.builders.dashboard import TimeOption as TimePickerOption
from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
    TimeOption,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import QueryEditorMode

from fairprice.runtime.metrics import METRICS

INFLUXDB = DataSourceRef(type_val="influxdb", uid="influxdb")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")

# Colours that people see apart whatever their eyes (Okabe and Ito, https://jfly.uni-koeln.de/color/). No state is told
# by red against green, and each has its word.
SKY, ORANGE, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#56B4E9", "#E69F00", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#8E8E8E",
)  # fmt: skip
TEXT = "text"
"""The theme's colour of text: what matters most in a chart, in the dark and in the light."""

GOOD, WARNING, BAD = GREEN, ORANGE, VERMILION

PLAIN = "locale"
"""The unit of prices and sizes, which are in the currencies of whatever symbol is chosen: 61,234.5."""

INTERVAL = "${__interval}"
"""With braces: without them Grafana 11.3 to 12.3 puts a backslash before it in queries that hold a regular expression
(https://github.com/grafana/grafana/issues/100476, 114260)."""

LABELS = {metric.name: metric.labels for metric in METRICS}
CHOSEN = ("venue", "symbol")
"""The variables of the dashboards, which are labels and tags, too."""

TAG = "fairprice"
RANGES = {
    "1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "day",
    "7d": "7 days", "30d": "30 days", "90d": "90 days", "1y": "year",
}  # fmt: skip


class AnyPanel(Protocol):
    """What the builders of all panels have in common, which have no base class but `Builder`."""

    def title(self, title: str) -> Self: ...  # noqa: D102
    def description(self, description: str) -> Self: ...  # noqa: D102
    def datasource(self, datasource: DataSourceRef) -> Self: ...  # noqa: D102
    def unit(self, unit: str) -> Self: ...  # noqa: D102
    def with_target(self, target: Builder[Dataquery]) -> Self: ...  # noqa: D102
    def span(self, w: int) -> Self: ...  # noqa: D102
    def height(self, h: int) -> Self: ...  # noqa: D102


P = TypeVar("P", bound=AnyPanel)
Colours = Mapping[str, str]
"""Colours by the names of series."""

Steps = Sequence[tuple[float, str]]
"""From which value on which colour."""


@dataclass
class InfluxQL(Dataquery, Builder[Dataquery]):
    """A query in InfluxQL; a table, or a series for each column, named like the column, or otherwise by `alias`.

    `text` is the column whose text an annotation shows.
    """

    query: str
    table: bool = False
    text: str = ""
    ref: str = "A"
    alias: str = "$col"

    def build(self) -> Dataquery:
        """Return itself."""
        return self

    def ref_id(self, ref: str) -> "InfluxQL":
        """Name it within its panel."""
        self.ref = ref
        return self

    def to_json(self) -> dict[str, object]:
        """Return what Grafana's InfluxDB data source reads."""
        shape = {"resultFormat": "table"} if self.table else {"resultFormat": "time_series", "alias": self.alias}
        event = {"fromAnnotations": True, "textColumn": self.text} if self.text else {}
        return {"refId": self.ref, "datasource": INFLUXDB, "rawQuery": True, "query": self.query, **shape, **event}


Query = InfluxQL | PrometheusQuery
Placed = Sequence[Builder[Panel]]
"""Panels that have their size, from left to right and from the top."""


def board(title: str, uid: str, description: str, time: str) -> Dashboard:
    """Return a dashboard without panels that shows the last `time`, like `15m`, and links to the other ones."""
    dashboard = Dashboard(title).uid(uid).description(description).tags([TAG]).time(f"now-{time}", "now").refresh("5s")
    others = DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(keep_time=True)
    dashboard.link(others.include_vars(include_vars=True))
    picker = TimePicker().refresh_intervals(["1s", "5s", "10s", "30s", "1m", "5m"])
    dashboard.timepicker(picker.quick_ranges([_quick_range(span) for span in RANGES]))
    return dashboard.tooltip(DashboardCursorSync.CROSSHAIR)


def _quick_range(span: str) -> Builder[TimeOption]:
    return TimePickerOption().display(f"Last {RANGES[span]}").from_val(f"now-{span}").to("now")


def promql(expression: str, legend: str, *, instant: bool = False) -> PrometheusQuery:
    """Return a query over the time range, or only of now."""
    query = PrometheusQuery().datasource(PROMETHEUS).expr(expression).legend_format(legend)
    query.editor_mode(QueryEditorMode.CODE)
    return query.instant() if instant else query.range()


def chosen(metric: str, labels: str = "") -> str:
    """Return the series of one of Fairprice's metrics, named without prefix, that are of what is chosen."""
    known = LABELS[metric.removesuffix("_bucket")]
    selectors = [*(f'{label}=~"${label}"' for label in CHOSEN if label in known), *filter(None, [labels])]
    return f"fairprice_{metric}{{{','.join(selectors)}}}" if selectors else f"fairprice_{metric}"


def variable(name: str, source: DataSourceRef, query: str) -> QueryVariable:
    """Return a variable whose values are asked for; what is first in the alphabet is chosen at first."""
    choice = QueryVariable(name).label(name.capitalize()).datasource(source).query(query).definition(query)
    return choice.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def framed(panel: P, title: str, description: str, unit: str, *queries: Query) -> P:
    """Give a panel what every panel has; its data source is that of its first query."""
    source = INFLUXDB if isinstance(queries[0], InfluxQL) else PROMETHEUS
    panel.title(title).description(description).datasource(source).unit(unit)
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(query.ref_id(ref))
    return panel


def placed(panel: P, width: int, height: int) -> P:
    """Give a panel its size: the grid is 24 wide, 38 pixels high each."""
    return panel.span(width).height(height)


def stat(title: str, description: str, unit: str, *queries: Query, steps: Steps = (), trend: bool = False) -> Stat:
    """Return one big value, coloured by its thresholds, with its course behind it if `trend`."""
    panel = framed(Stat(), title, description, unit, *queries)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    panel.graph_mode(BigValueGraphMode.AREA if trend else BigValueGraphMode.NONE)
    panel.color_mode(BigValueColorMode.VALUE)
    return panel.thresholds(thresholds(steps)).color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))


def lines(
    title: str, description: str, unit: str, *queries: Query, colours: Colours | None = None, calcs: Sequence[str] = ()
) -> TimeSeries:
    """Return lines over time; `calcs` are shown in the legend."""
    panel = framed(TimeSeries(), title, description, unit, *queries)
    panel.line_width(1).fill_opacity(0).show_points(VisibilityMode.NEVER)
    legend = VizLegendOptions().show_legend(show_legend=True).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(LegendDisplayMode.LIST).calcs(list(calcs)))
    panel.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.NONE))
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [fixed(colour)])
    return panel


def states(title: str, description: str, *queries: Query, names: Sequence[tuple[str, str]]) -> StateTimeline:
    """Return bars of states over time; `names` are the words and colours of the values 0, 1, ..."""
    panel = framed(StateTimeline(), title, description, "none", *queries)
    panel.show_value(VisibilityMode.AUTO).merge_values(merge_values=True).row_height(0.8).fill_opacity(80).line_width(0)
    panel.legend(VizLegendOptions().show_legend(show_legend=False).display_mode(LegendDisplayMode.LIST))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS)).thresholds(thresholds(()))
    return panel.mappings([words({str(value): name for value, name in enumerate(names)})])


def words(meanings: Mapping[str, tuple[str, str]]) -> ValueMap:
    """Show values as words in colours."""
    return ValueMap({value: ValueMappingResult(text, colour) for value, (text, colour) in meanings.items()})


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Return thresholds; below the first one a value has the colour of text."""
    absolute = [Threshold(value, colour) for value, colour in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(None, TEXT), *absolute])


def fixed(colour: str) -> DynamicConfigValue:
    """Return the property that gives a series its colour."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
