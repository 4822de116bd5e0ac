"""The dashboards as code: `python -m grafana.build` writes `dashboards/*.json`, which Grafana reads."""
