"""Whether others say the same of the price: the live view, and the other venues of the symbol."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries

from grafana.market.depth import HOURS
from grafana.market.queries import BPS, HOLE, POINTS, PRICE_DECIMALS, TICKS
from grafana.panels import BAD, GOOD, INTERVAL, PLAIN, InfluxQL, Placed, chosen, lines, placed, promql, states

ALONE = "one venue has this symbol, or less than a minute is stored"
OF_SYMBOL = f"symbol = '$symbol' AND $timeFilter AND {TICKS} GROUP BY time({INTERVAL}), venue"


def panels() -> Placed:
    """Return the row's panels."""
    return placed(_venues(), 9, 8), placed(_basis(), 9, 8), placed(_witness(), 6, 8)


def _venues() -> TimeSeries:
    panel = lines(
        "The same symbol at every venue",
        "The mid of $symbol wherever it is followed. What lies between two lines is the basis.",
        PLAIN,
        InfluxQL(f"SELECT mean(mid) AS mid FROM fair_price WHERE {OF_SYMBOL} fill(null)", alias="$tag_venue"),
        calcs=["lastNotNull"],
    )
    return panel.decimals(PRICE_DECIMALS).max_data_points(POINTS).span_nulls(HOLE).no_value(HOURS)


def _basis() -> TimeSeries:
    panel = lines(
        "Basis between venues",
        "How far the mid of $symbol at each further venue lies above that at the first one by name, second by second,"
        " from the stored prices. It is half a minute to a minute behind; the gateway's page tells it at once.",
        BPS,
        InfluxQL(f"SELECT mean(basis_bps) AS basis FROM basis WHERE {OF_SYMBOL} fill(null)", alias="$tag_venue"),
        calcs=["min", "max", "lastNotNull"],
    )
    return panel.max_data_points(POINTS).span_nulls(HOLE).no_value(ALONE)


def _witness() -> StateTimeline:
    panel = states(
        "Second witness",
        "Live view: whether it and the record have told the same best prices within the last second. Basis: whether"
        " $symbol at $venue is nearer to the first venue than FAIRPRICE_BASIS_BOUND. Disputed and BasisBeyond tell.",
        promql(f"max({chosen('gateway_disputed')})", "live view"),
        promql(f"max({chosen('gateway_basis_beyond')})", "basis"),
        names=(("agrees", GOOD), ("contradicts", BAD)),
    )
    return panel.no_value("no second witness: no live view, and no other venue before this one")
