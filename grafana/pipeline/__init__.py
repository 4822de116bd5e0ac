"""The dashboard Pipeline: whether everything works from the exchange to the database, and where it does not."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable, Row
from grafana_foundation_sdk.models.dashboard import VariableOption

from grafana.panels import PROMETHEUS, board, variable
from grafana.pipeline import broker, crawler, feed, machines, overview, store


def dashboard() -> Dashboard:
    """Return the dashboard."""
    about = "From the exchange to the database: is everything there, fast enough, and complete?"
    pipeline = board("Pipeline", "pipeline", about, "15m").with_variable(_venue()).with_variable(_symbol())
    for panel in overview.panels():
        pipeline.with_panel(panel)
    for stage in (feed, crawler, broker, store, machines):
        pipeline.with_row(Row(stage.ROW))
        for panel in stage.panels():
            pipeline.with_panel(panel)
    return pipeline


def _venue() -> QueryVariable:
    return _all(variable("venue", PROMETHEUS, "label_values(fairprice_gateway_price_age_seconds, venue)"))


def _symbol() -> QueryVariable:
    symbols = 'label_values(fairprice_gateway_price_age_seconds{venue=~"$venue"}, symbol)'
    return _all(variable("symbol", PROMETHEUS, symbols))


def _all(choice: QueryVariable) -> QueryVariable:
    choice.multi(multi=True).include_all(include_all=True).all_value(".*")
    return choice.current(VariableOption(selected=True, text="All", value="$__all"))
