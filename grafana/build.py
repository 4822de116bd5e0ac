"""Writes the dashboards: `python -m grafana.build`."""

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import market, pipeline

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Return the text of each dashboard by the name of its file."""
    return {"market.json": _text(market.dashboard()), "pipeline.json": _text(pipeline.dashboard())}


def _text(dashboard: Dashboard) -> str:
    built = dashboard.build()
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
