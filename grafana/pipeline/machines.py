"""Memory, processor, versions, and who listens."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels import BAD, GOOD, ORANGE, Placed, chosen, framed, lines, placed, promql, states
from grafana.pipeline.queries import JOBS, RATE, a_minute

ERLANG_TIMES = ("{}_milliseconds", "{}_seconds_total")
"""How RabbitMQ 3.10 to 4.2 and how 4.3 name times; 4.3.6 still counts milliseconds in what it calls seconds."""

ROW = "Machines and readers: what it costs, and for whom"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_memory(), 6, 9), placed(_processor(), 6, 9), placed(_cost(), 6, 9), placed(_up(), 6, 9),
        placed(_readers(), 8, 7), placed(_slow_readers(), 8, 7), placed(_versions(), 8, 7),
    )  # fmt: skip


def _memory() -> TimeSeries:
    return lines(
        "Memory of each service",
        "Resident memory, all instances together. InfluxDB tells only what its runtime took from the system.",
        "bytes",
        promql(
            "sum by (job) (process_resident_memory_bytes or rabbitmq_process_resident_memory_bytes"
            ' or go_memstats_sys_bytes{job="influxdb"})',
            "{{job}}",
        ),
        colours=JOBS,
    ).min(0)


def _processor() -> TimeSeries:
    panel = lines(
        "Processor time of each service",
        "1 is one core fully used, all instances together. InfluxDB does not tell its own.",
        "none",
        promql(_cores(), "{{job}}"),
        colours=JOBS,
    )
    return panel.min(0).axis_soft_max(0.5)


def _cost() -> TimeSeries:
    stored = f'sum(rate(fairprice_storer_rows_total{{measurement="fair_price"}}{RATE}))'
    return lines(
        "Processor time a book",
        "Of each service, for each price that is stored: what more symbols would take. It falls when there is more to "
        "do, since what waits is worked on together.",
        "µs",
        promql(f"1000000 * {_cores()} / scalar({stored})", "{{job}}"),
        colours=JOBS,
    ).min(0)


def _cores() -> str:
    return f"sum by (job) (rate(process_cpu_seconds_total{RATE}) or {' or '.join(map(_busy, ERLANG_TIMES))})"


def _busy(name: str) -> str:
    """Return the cores that Erlang uses, whatever the unit in which this RabbitMQ tells both of its times."""
    runtime, wall = (f"erlang_vm_statistics_{name.format(time)}" for time in ("runtime", "wallclock_time"))
    return f"rate({runtime}{RATE}) / rate({wall}{RATE})"


def _up() -> StateTimeline:
    return states(
        "Who answers Prometheus",
        "One line a service: up while one of its instances answers.",
        promql("max by (job) (up) or 0 * max by (job) (max_over_time(up[1h]))", "{{job}}"),
        names=(("down", BAD), ("up", GOOD)),
    )


def _readers() -> TimeSeries:
    return lines(
        "Pages and programs that listen",
        "Open websockets of the gateway. It takes 200 at most.",
        "none",
        promql(f"sum({chosen('gateway_clients')})", "listeners"),
        calcs=["max"],
    ).min(0)


def _slow_readers() -> TimeSeries:
    panel = lines(
        "Frames that slow listeners lost a minute",
        "A listener that does not keep up loses its oldest frames and is told how many; nobody else notices.",
        "none",
        promql(a_minute("gateway_dropped_messages"), "frames"),
        colours={"frames": ORANGE},
    )
    return panel.min(0).axis_soft_max(1)


def _versions() -> Table:
    panel = framed(
        Table(),
        "Which versions run",
        "Two versions of one service are an upgrade under way, or one that stopped half-way.",
        "none",
        promql(f"sum by (service, version, python) ({chosen('build_info')})", "", instant=True).format(
            PromQueryFormat.TABLE
        ),
    )
    names = {"service": "Service", "version": "Version", "python": "Python", "Value": "Instances"}
    panel.with_transformation(
        DataTransformerConfig("organize", options={"excludeByName": {"Time": True}, "renameByName": names})
    )
    return panel.cell_height(TableCellHeight.SM)
