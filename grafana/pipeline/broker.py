"""Queues, confirms, alarms and connections of RabbitMQ."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphDrawStyle

from fairprice.topology import DEAD_LETTERS, UNROUTED
from grafana.panels import BAD, GOOD, GREEN, ORANGE, PURPLE, VERMILION, Placed, chosen, lines, placed, promql, states
from grafana.pipeline.queries import JOBS, PER_SECOND, QUEUES, RATE, each_minute, queues

LAST_RESORTS = {DEAD_LETTERS: VERMILION, UNROUTED: PURPLE}

ROW = "Broker: what waits between the services"


def panels() -> Placed:
    """Return the row's panels."""
    return (
        placed(_ready(), 8, 8), placed(_unacknowledged(), 8, 8), placed(_last_resorts(), 8, 8),
        placed(_publishes(), 8, 8), placed(_unconfirmed(), 8, 8), placed(_alarms(), 8, 8),
        placed(_deliveries(), 6, 8), placed(_kept(), 6, 8), placed(_subscriptions(), 6, 8),
        placed(_lost_connections(), 6, 8),
    )  # fmt: skip


def _ready() -> TimeSeries:
    panel = lines(
        "Messages ready in the queues",
        "Not yet delivered. Near zero while consumers keep up; growing means that one is down or too slow. A message"
        " holds up to 100 events.",
        "none",
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages_ready{queues(QUEUES)})", "{{queue}}"),
        colours=QUEUES,
        calcs=["lastNotNull", "max"],
    )
    return panel.min(0).axis_soft_max(10)


def _unacknowledged() -> TimeSeries:
    panel = lines(
        "Messages delivered, not yet acknowledged",
        "Being worked on. The storer holds them while InfluxDB takes nothing: a flat high line is its prefetch.",
        "none",
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages_unacked{queues(QUEUES)})", "{{queue}}"),
        colours=QUEUES,
        calcs=["lastNotNull", "max"],
    )
    return panel.min(0).axis_soft_max(10)


def _last_resorts() -> TimeSeries:
    panel = lines(
        "Dead letters and unrouted messages",
        "Both have to be 0. Dead letters are lines that no service could read; unrouted ones were published where no"
        " queue is bound. They stay until somebody looks at them in RabbitMQ's own pages and empties the queue.",
        "none",
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages{queues(LAST_RESORTS)})", "{{queue}}"),
        colours=LAST_RESORTS,
        calcs=["lastNotNull"],
    )
    return panel.min(0).axis_soft_max(1)


def _publishes() -> TimeSeries:
    return lines(
        "Publishes a second by what became of them",
        "Messages, not events. Confirmed: RabbitMQ has them on disk. Rejected: a queue is full. Unknown: no answer;"
        " these are repeated, nothing is lost.",
        PER_SECOND,
        promql(f"sum by (outcome) (rate(fairprice_broker_publishes_total{RATE}))", "{{outcome}}"),
        colours={"confirmed": GREEN, "rejected": ORANGE, "unknown": VERMILION},
    ).min(0)


def _unconfirmed() -> TimeSeries:
    panel = lines(
        "Oldest publish that waits for RabbitMQ",
        "Some milliseconds while all is well. It grows while RabbitMQ is away, has an alarm, or its disk is slow.",
        "s",
        promql("max by (job) (fairprice_broker_unconfirmed_seconds)", "{{job}}"),
        colours=JOBS,
        calcs=["max"],
    )
    return panel.min(0).axis_soft_max(1)


def _alarms() -> StateTimeline:
    return states(
        "RabbitMQ's alarms and connections",
        "An alarm of memory or disk holds every publisher back until there is room again; nothing is lost meanwhile.",
        promql("max(rabbitmq_alarms_memory_used_watermark)", "memory"),
        promql("max(rabbitmq_alarms_free_disk_space_watermark)", "disk"),
        promql("max(fairprice_broker_blocked)", "publishers blocked"),
        promql("1 - min(fairprice_broker_connected)", "a service without connection"),
        promql("max(fairprice_broker_missing_objects) > bool 0", "exchanges or queues missing"),
        promql("max(fairprice_broker_unsafe_queues) > bool 0", "queues without a delivery limit"),
        names=(("no", GOOD), ("yes", BAD)),
    )


def _deliveries() -> TimeSeries:
    return lines(
        "Deliveries a second",
        "Messages that RabbitMQ delivered: for the first time, or again because the consumer before did not settle"
        " them.",
        PER_SECOND,
        promql(f"sum by (queue, time) (rate({chosen('broker_deliveries_total')}{RATE}))", "{{queue}}, {{time}}"),
    ).min(0)


def _kept() -> TimeSeries:
    panel = lines(
        "Waiting to be published or confirmed",
        "Messages that were published and not yet confirmed, and events that the crawler keeps until they can be"
        " published.",
        "none",
        promql(f"sum by (job) ({chosen('broker_unconfirmed_messages')})", "{{job}}, messages"),
        promql(f"sum({chosen('crawler_unconfirmed_events')})", "crawler, events"),
        calcs=["max"],
    )
    return panel.min(0).axis_soft_max(10)


def _subscriptions() -> StateTimeline:
    return states(
        "Queues that are read",
        "Not read: a consumer tries to subscribe and fails; its log and /readyz say why.",
        promql(f"min by (queue) ({chosen('broker_subscriptions')})", "{{queue}}"),
        names=(("not read", BAD), ("read", GOOD)),
    )


def _lost_connections() -> TimeSeries:
    panel = lines(
        "Connections to RabbitMQ lost a minute",
        "Each is made again by itself, and what was unsettled comes again. Zero while all is well.",
        "none",
        promql(each_minute("job", "broker_lost_connections"), "{{job}}"),
        colours=JOBS,
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)
