"""What the last two minutes say of the next seconds: where the mid is expected, its bands, and how often they hold."""

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.market.queries import HOLE, IN_RANGE, POINTS, PRICE_DECIMALS, TICKS, over_time
from grafana.panels import (
    GOOD,
    GREEN,
    GREY,
    ORANGE,
    PLAIN,
    PURPLE,
    SKY,
    TEXT,
    WARNING,
    InfluxQL,
    Placed,
    chosen,
    lines,
    placed,
    promql,
    stat,
    words,
)

LEARNING = "learning: it takes two minutes of books without a gap"
BANDS = {"1 s": ("band_1s", SKY), "10 s": ("band_10s", GREY)}
SHARE = "percentunit"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_bands(), 12, 9), placed(_coverage(), 5, 9), placed(_betas(), 4, 9), placed(_learning(), 3, 9),
    )  # fmt: skip


def _bands() -> TimeSeries:
    ends = [f'mean({field}_{end}) AS "{name} {end}"' for name, (field, _) in BANDS.items() for end in ("high", "low")]
    panel = lines(
        "Where the mid is expected, and how surely",
        "The mid, where it is expected in a second, and the bands in which it lies a second, and ten seconds, later in"
        " nine of ten cases. The expected mid lies outside of bid and ask nearly always, since it speaks of how much"
        " the market moves and not of the spread. Nobody can trade on that: a taker pays many times as much in fees.",
        PLAIN,
        *over_time(", ".join(['mean(mid) AS "mid"', 'mean(forecast_mid) AS "expected in 1 s"', *ends])),
        colours={"mid": TEXT, "expected in 1 s": GREEN},
    )
    panel.decimals(PRICE_DECIMALS).max_data_points(POINTS).span_nulls(HOLE).no_value(LEARNING)
    for name, (_, colour) in BANDS.items():
        fill = [DynamicConfigValue("custom.fillBelowTo", f"{name} low"), DynamicConfigValue("custom.fillOpacity", 15)]
        thin = DynamicConfigValue("custom.lineWidth", 0)
        shade = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
        panel.override_by_name(f"{name} high", [shade, thin, *fill])
        panel.override_by_name(f"{name} low", [shade, thin])
    return panel


def _coverage() -> TimeSeries:
    def held(labels: str) -> str:
        return f"sum by (horizon) (rate({chosen('crawler_band_outcomes_total', labels)}[15m]))"

    inside = held('result="inside"')
    panel = lines(
        "Mids within their band",
        "The share of the last quarter of an hour that lay in the band which was published a second, or ten, before:"
        " 90 % is promised. Within a minute it may be fifteen points off. Where a market hardly moves it is more, since"
        " the mid stands still. A band that does not hold what it says is worse than none: BandsMiss tells.",
        SHARE,
        promql(f"{inside} / {held('')}", "{{horizon}} later"),
        colours={"1s later": SKY, "10s later": PURPLE},
        calcs=["lastNotNull"],
    )
    return panel.min(0.5).max(1).no_value(LEARNING)


def _betas() -> TimeSeries:
    betas = {"beta_500ms": "0.5 s", "beta_1s": "1 s", "beta_5s": "5 s"}
    columns = ", ".join(f'mean({field}) AS "in {name}"' for field, name in betas.items())
    panel = lines(
        "What a full imbalance moves",
        "How far, in the quote currency, the mid moved per imbalance of the best sizes in two minutes: beta. Near zero"
        " the imbalance says nothing. One value a minute.",
        PLAIN,
        InfluxQL(f"SELECT {columns} FROM model WHERE {IN_RANGE} AND {TICKS} GROUP BY time(1m) fill(none)"),
        colours={"in 0.5 s": SKY, "in 1 s": GREEN, "in 5 s": ORANGE},
    )
    return panel.no_value(LEARNING)


def _learning() -> Stat:
    panel = stat(
        "Learning, left",
        "How much longer it takes until forecasts and bands are there: two minutes of books without a gap.",
        "dtdurations",
        promql(f"min({chosen('crawler_learning_seconds')})", "left", instant=True),
        steps=((0.001, WARNING),),
    )
    panel.no_value("begins with the first book")
    return panel.mappings([words({"0": ("learnt", GOOD)})])
