"""What the panels of Market share: colours, conditions, and the queries of more than one panel."""

from grafana.panels import INTERVAL, ORANGE, SKY, InfluxQL

BID, ASK = SKY, ORANGE
UP, DOWN = SKY, ORANGE
BPS = "suffix:bps"
LEVELS = 20
"""Levels a side that are shown; fewer are stored where `FAIRPRICE_BOOK_LEVELS` is lower."""

SYMBOL = "venue = '$venue' AND symbol = '$symbol'"
IN_RANGE = f"{SYMBOL} AND $timeFilter"
OPEN = "open_ids > 0"
"""Of gaps: those that hold ids which no row covers; another crawler has brought what is missing in the others."""

PRICED = "(status = 'ok' OR status = 'locked')"
"""A price beside another status is none: two converters may have written one row from two books."""

TICKS = "${__interval_ms} < 60000"
"""Only where points are less than a minute apart; else InfluxDB finds the condition false and reads nothing. So ticks
are read for hours at most, and where they would be too many the one-minute bars take their place."""

BARS = "${__interval_ms} >= 60000"
BY_TIME = f"GROUP BY time({INTERVAL})"
FRESH = "10s"
"""A price older than that is none: twice the age at which the gateway calls it stale."""

MINUTES = '"bars"."autogen"."fair_price_1m"'
POINTS = 600
HOLE = 5_000
"""Milliseconds that a line bridges; longer holes stay visible."""

DETAIL = "Ticks; from about eight hours on the one-minute bars, which are kept for ever."
PRICE_DECIMALS = 4


def last(columns: str) -> InfluxQL:
    """Return the query of columns of the newest price, if it is fresh."""
    return InfluxQL(
        f"SELECT {columns} FROM fair_price WHERE {SYMBOL} AND time > now() - {FRESH} ORDER BY time DESC LIMIT 1",
        table=True,
    )


def over_time(ticks: str, bars: str = "", fill: str = "null", *, which: str = "") -> tuple[InfluxQL, ...]:
    """Return the queries of a line: from ticks, and where there would be too many, from bars.

    `which` is a condition that ticks have to meet.
    """
    only = f" AND {which}" if which else ""
    end = f"{BY_TIME} fill({fill})"
    queries = [InfluxQL(f"SELECT {ticks} FROM fair_price WHERE {IN_RANGE}{only} AND {TICKS} {end}")]
    if bars:
        queries.append(InfluxQL(f"SELECT {bars} FROM {MINUTES} WHERE {IN_RANGE} AND {BARS} {end}"))
    return tuple(queries)
