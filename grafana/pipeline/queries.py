"""What the rows of Pipeline share: names, colours, and the queries of more than one panel."""

from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, chosen

JOBS = {
    "crawler": SKY, "converter": ORANGE, "storer": GREEN, "gateway": PURPLE, "rabbitmq": VERMILION,
    "rabbitmq-queues": VERMILION, "influxdb": BLUE, "grafana": GREY, "prometheus": "#F0E442",
}  # fmt: skip
"""What Prometheus scrapes, each with its colour."""

QUEUES = {BOOKS_CONVERTER: ORANGE, BOOKS_STORER: GREEN, PRICES_STORER: SKY}

RATE = "[$__rate_interval]"

PER_SECOND = "cps"
STALE_SECONDS = 5

EACH = "{{venue}} {{symbol}}"


def queues(names: dict[str, str]) -> str:
    """Return the selector of queues by name."""
    return f'{{queue=~"{"|".join(names)}"}}'


def quantile_of(quantile: float, service: str) -> str:
    """Return a quantile of the seconds from the exchange's event until a service was through with it."""
    labels = 'measurement="fair_price"' if service == "storer" else ""
    buckets = f"rate({chosen(f'{service}_latency_seconds_bucket', labels)}{RATE})"
    return f"histogram_quantile({quantile}, sum by (le) ({buckets}))"


def a_minute(counter: str, labels: str = "") -> str:
    """Return how often a counter of Fairprice's counted in a minute, 0 where there is none."""
    return f"(60 * sum(rate({chosen(f'{counter}_total', labels)}{RATE})) or vector(0))"


def a_second(counter: str) -> str:
    """Return how often a counter of Fairprice's counted in a second, 0 where there is none."""
    return f"(sum(rate({chosen(f'{counter}_total')}{RATE})) or vector(0))"


def each_minute(label: str, counter: str) -> str:
    """Return the same for each value of a label."""
    return f"60 * sum by ({label}) (rate({chosen(f'{counter}_total')}{RATE}))"
