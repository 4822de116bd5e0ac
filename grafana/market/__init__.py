"""The dashboard Market: what the price is, whether to trust it, and how the market around it looks."""

from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, Dashboard, QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableOption

from grafana.market import depth, forecast, hours, now, prices, witness
from grafana.market.queries import IN_RANGE, OPEN
from grafana.panels import BAD, INFLUXDB, InfluxQL, board, variable


def dashboard() -> Dashboard:
    """Return the dashboard."""
    about = "Fair price, spread and depth of one symbol at one venue, from the last minute to years."
    market = board("Market", "market", about, "5m")
    market.with_variable(_venue()).with_variable(_symbol()).annotation(_gaps())
    for row in (now, prices, forecast, depth, witness, hours):
        for panel in row.panels():
            market.with_panel(panel)
    return market


def _venue() -> QueryVariable:
    return variable("venue", INFLUXDB, 'SHOW TAG VALUES FROM "fair_price" WITH KEY = "venue"')


def _symbol() -> QueryVariable:
    query = 'SHOW TAG VALUES FROM "fair_price" WITH KEY = "symbol" WHERE venue = \'$venue\''
    usual = VariableOption(selected=True, text="BTCUSDT", value="BTCUSDT")
    return variable("symbol", INFLUXDB, query).current(usual)


def _gaps() -> AnnotationQuery:
    gaps = InfluxQL(f"SELECT reason FROM gap WHERE {IN_RANGE} AND {OPEN} LIMIT 500", table=True, text="reason")
    return AnnotationQuery().name("Gaps").datasource(INFLUXDB).enable(enable=True).icon_color(BAD).target(gaps)
