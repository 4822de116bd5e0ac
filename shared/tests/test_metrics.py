"""The table of metrics, and what Prometheus reads from the exporter."""

import re
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fairprice.runtime.metrics import BOUNDS, METRICS, Exporter, Histogram

SERVICES = ("build", "crawler", "converter", "storer", "gateway", "broker")


def scrape(*samples):
    registry = CollectorRegistry()
    registry.register(Exporter(lambda: iter(samples)))
    return generate_latest(registry).decode()


def parsed(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_name_is_in_the_table_once():
    assert set(Counter(metric.name for metric in METRICS).values()) == {1}


def test_metrics_are_named_as_prometheus_wants_it():
    for metric in METRICS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", metric.name), metric
        assert metric.name.startswith(SERVICES), metric
        assert not metric.name.startswith("fairprice_"), metric
        assert metric.help[0].isupper() or metric.help[0].isdigit(), metric
        assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels), metric
        assert len(set(metric.labels)) == len(metric.labels), metric
        assert not re.search(r"_(ms|millis|micros|us|minutes|count|sum|bucket)$", metric.name), metric


def test_what_the_exporter_writes_is_what_prometheus_reads():
    for metric in METRICS:
        if metric.name.endswith("_latency_seconds"):
            continue
        values = tuple(f'a "quoted"\\ {position}\nline' for position, _ in enumerate(metric.labels))
        text = scrape((metric.name, values, 3.5))
        (family,) = parsed(text).values()
        is_counter = metric.name.endswith("_total")
        assert family.type == ("counter" if is_counter else "gauge"), metric
        assert family.documentation == metric.help, metric
        (sample,) = family.samples
        assert sample.name == f"fairprice_{metric.name}"
        assert sample.labels == dict(zip(metric.labels, values, strict=True)), metric
        assert sample.value == 3.5, metric


def test_a_histogram_counts_what_is_up_to_each_bound():
    histogram = Histogram()
    for microseconds in (-5, 0, 1_000, 1_001, 70_000_000):
        histogram.observe(microseconds)
    (family,) = parsed(scrape(("storer_latency_seconds", ("fair_price",), histogram))).values()
    assert family.type == "histogram"
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert (buckets["0.001"], buckets["0.0025"], buckets["60"], buckets["+Inf"]) == (3, 4, 4, 5)
    assert len(buckets) == len(BOUNDS) + 1
    (total,) = (sample.value for sample in family.samples if sample.name.endswith("_sum"))
    assert total == pytest.approx(70.002001)


def test_samples_of_one_name_become_one_family_wherever_they_come_from():
    text = scrape(
        ("storer_rows_total", ("fair_price",), 7),
        ("gateway_clients", (), 2),
        ("storer_rows_total", ("gap",), 1),
    )
    families = parsed(text)
    assert set(families) == {"fairprice_storer_rows", "fairprice_gateway_clients"}
    rows = {sample.labels["measurement"]: sample.value for sample in families["fairprice_storer_rows"].samples}
    assert rows == {"fair_price": 7, "gap": 1}
    assert text.count("# TYPE fairprice_storer_rows_total counter") == 1


def test_the_exporter_reads_anew_at_each_scrape():
    count = 0

    def read():
        nonlocal count
        count += 1
        yield "gateway_clients", (), count

    registry = CollectorRegistry()
    registry.register(Exporter(read))
    first = registry.get_sample_value("fairprice_gateway_clients")
    assert registry.get_sample_value("fairprice_gateway_clients") == first + 1


def test_without_samples_there_is_no_family():
    assert scrape() == ""


def test_a_name_outside_the_table_is_a_bug():
    with pytest.raises(KeyError, match="storer_surprises_total"):
        scrape(("storer_surprises_total", (), 1))


@pytest.mark.parametrize("labels", [(), ("binance", "BTCUSDT", "extra")])
def test_a_sample_with_other_labels_than_the_tables_is_a_bug(labels):
    with pytest.raises(ValueError, match="crawler_books_total"):
        scrape(("crawler_books_total", labels, 1))
