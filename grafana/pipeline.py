"""The dashboard Pipeline: whether everything works from the exchange to the database, and where it does not."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable, Row
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import GraphDrawStyle, TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue, VariableOption
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER, DEAD_LETTERS, PRICES_STORER, UNROUTED
from grafana.panels import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    ORANGE,
    PROMETHEUS,
    PURPLE,
    SKY,
    VERMILION,
    WARNING,
    board,
    chosen,
    fixed,
    framed,
    lines,
    placed,
    promql,
    stat,
    states,
    variable,
)

JOBS = {
    "crawler": SKY, "converter": ORANGE, "storer": GREEN, "gateway": PURPLE, "rabbitmq": VERMILION,
    "rabbitmq-queues": VERMILION, "influxdb": BLUE, "grafana": GREY, "prometheus": "#F0E442",
}  # fmt: skip
"""What Prometheus scrapes, each with its colour."""

QUEUES = {BOOKS_CONVERTER: ORANGE, BOOKS_STORER: GREEN, PRICES_STORER: SKY}
LAST_RESORTS = {DEAD_LETTERS: VERMILION, UNROUTED: PURPLE}

RATE = "[$__rate_interval]"
DIFFS = 'kind="diff"'
IN_ORDER = 'outcome!="out_of_order"'
UNREADABLE = 'kind="invalid"'
CONTRADICTIONS = 'outcome="contradiction"'
ERLANG_TIMES = ("{}_milliseconds", "{}_seconds_total")
"""How RabbitMQ 3.10 to 4.2 and how 4.3 name times; 4.3.6 still counts milliseconds in what it calls seconds."""

PER_SECOND = "cps"
STALE_SECONDS = 5

EACH = "{{venue}} {{symbol}}"

_IN_SYNC = f"max by (venue, symbol) ({chosen('crawler_in_sync')})"
_FRESH = f"(min by (venue, symbol) ({chosen('gateway_price_age_seconds')}) < bool {STALE_SECONDS})"
_FOLLOWED = f"max by (venue, symbol) (max_over_time({chosen('crawler_in_sync')}[15m]))"
_HALTED = f"4 + (max by (venue, symbol) ({chosen('crawler_trading')}) == 0)"
FEED_STATE = f"{_HALTED} or 2 * {_IN_SYNC} + ({_FRESH} or 0 * {_IN_SYNC}) or {_FRESH} or 0 * {_FOLLOWED}"
"""2 for a book in sync and 1 for a fresh price, also where crawler or gateway or both are gone; 4 for a halt."""

FEED_STATES = (
    ("down", BAD), ("synchronising", PURPLE), ("no fresh price", WARNING), ("live", GOOD),
    ("halted by the exchange", GREY),
)  # fmt: skip
LIVE = 3


def dashboard() -> Dashboard:
    """Return the dashboard."""
    about = "From the exchange to the database: is everything there, fast enough, and complete?"
    pipeline = board("Pipeline", "pipeline", about, "15m").with_variable(_venue()).with_variable(_symbol())
    for row, panels in (
        ("", (
            (_missing_services(), 3, 4), (_firing(), 3, 4), (_symbols_not_live(), 3, 4), (_latency_now(), 4, 4),
            (_throughput_now(), 4, 4), (_waiting(), 4, 4), (_gaps_now(), 3, 4),
            (_feed(), 12, 7), (_alerts(), 12, 7),
        )),
        ("Feed: from the exchange to the prices", (
            (_events(), 12, 9), (_latency(), 12, 9),
            (_gaps(), 8, 8), (_age(), 8, 8), (_untrusted(), 8, 8),
        )),
        ("Crawler: what comes in, and whether it is right", (
            (_audits(), 8, 8), (_unaudited(), 8, 8), (_skew(), 8, 8),
            (_diffs(), 8, 8), (_snapshots(), 8, 8), (_connections(), 8, 8),
            (_frames(), 8, 8), (_missing(), 8, 8), (_weight(), 8, 8),
        )),
        ("Broker: what waits between the services", (
            (_ready(), 8, 8), (_unacknowledged(), 8, 8), (_last_resorts(), 8, 8),
            (_publishes(), 8, 8), (_unconfirmed(), 8, 8), (_alarms(), 8, 8),
            (_deliveries(), 6, 8), (_kept(), 6, 8), (_subscriptions(), 6, 8), (_lost_connections(), 6, 8),
        )),
        ("Store: what InfluxDB takes", (
            (_rows(), 8, 8), (_replies(), 8, 8), (_failures(), 8, 8),
            (_batches(), 8, 8), (_trouble(), 8, 8), (_unknown_lines(), 8, 8),
        )),
        ("Machines and readers: what it costs, and for whom", (
            (_memory(), 8, 9), (_processor(), 8, 9), (_up(), 8, 9),
            (_readers(), 8, 7), (_slow_readers(), 8, 7), (_versions(), 8, 7),
        )),
    ):  # fmt: skip
        if row:
            pipeline.with_row(Row(row))
        for panel, width, height in panels:
            pipeline.with_panel(placed(panel, width, height))
    return pipeline


def _venue() -> QueryVariable:
    return _all(variable("venue", PROMETHEUS, "label_values(fairprice_gateway_price_age_seconds, venue)"))


def _symbol() -> QueryVariable:
    symbols = 'label_values(fairprice_gateway_price_age_seconds{venue=~"$venue"}, symbol)'
    return _all(variable("symbol", PROMETHEUS, symbols))


def _all(choice: QueryVariable) -> QueryVariable:
    choice.multi(multi=True).include_all(include_all=True).all_value(".*")
    return choice.current(VariableOption(selected=True, text="All", value="$__all"))


def _missing_services() -> Stat:
    return stat(
        "Services missing",
        f"Of the {len(JOBS)} things that Prometheus scrapes, how many have no instance that answers."
        " Which: at the bottom of this page.",
        "none",
        promql(f"{len(JOBS)} - (count(count by (job) (up == 1)) or vector(0))", "missing", instant=True),
        steps=((0, GOOD), (1, BAD)),
    )


def _firing() -> Stat:
    return stat(
        "Alerts firing",
        "Rules of Prometheus that fire now; the list is below, what to do is in each rule (Alerting, Alert rules).",
        "none",
        promql('count(ALERTS{alertstate="firing"}) or vector(0)', "firing", instant=True),
        steps=((0, GOOD), (1, BAD)),
    )


def _symbols_not_live() -> Stat:
    return stat(
        "Symbols not live",
        f"Symbols whose book is out of sync or whose newest price is older than {STALE_SECONDS} seconds. Those that the"
        " exchange has halted are not counted.",
        "none",
        promql(f"count(({FEED_STATE}) < {LIVE}) or 0 * count({_FOLLOWED})", "symbols", instant=True),
        steps=((0, GOOD), (1, BAD)),
    ).no_value("no crawler")


def _latency_now() -> Stat:
    return stat(
        "Event to stored, slowest 1 %",
        "Time from the exchange's event to the stored price, 99th percentile. It rests on the clocks of the exchange"
        " and of this machine.",
        "s",
        promql(_quantile(0.99, "storer"), "stored"),
        steps=((0, GOOD), (1, WARNING), (5, BAD)),
        trend=True,
    ).no_value("nothing stored")


def _throughput_now() -> Stat:
    panel = stat(
        "Prices stored a second",
        "Rows of fair_price that InfluxDB took; one for each change of a book.",
        "none",
        promql(f'sum(rate(fairprice_storer_rows_total{{measurement="fair_price"}}{RATE}))', "prices"),
        trend=True,
    )
    return panel.decimals(1).no_value("nothing stored")


def _waiting() -> Stat:
    return stat(
        "Messages waiting",
        "In the three queues of the pipeline, delivered or not. A busy moment fills them; they have to empty again.",
        "none",
        promql(f"sum(rabbitmq_detailed_queue_messages{_queues(QUEUES)})", "waiting"),
        steps=((0, GOOD), (500, WARNING), (5_000, BAD)),
        trend=True,
    ).decimals(0)


def _gaps_now() -> Stat:
    return stat(
        "Gaps in the range",
        "Holes in the exchange's stream that were recorded in the chosen range.",
        "none",
        promql(f"sum(increase({chosen('crawler_gaps_total')}[$__range])) or vector(0)", "gaps", instant=True),
        steps=((0, GOOD), (1, WARNING)),
    ).decimals(0)


def _feed() -> StateTimeline:
    return states(
        "State of the feed",
        f"Live: the book is in sync and the gateway has a price of the last {STALE_SECONDS} seconds. No fresh price: in"
        " sync, but prices do not arrive: look at converter and broker. Synchronising: prices still arrive, the book"
        " just was lost. Down: neither. Halted: the exchange says that it does not trade the symbol now.",
        promql(FEED_STATE, EACH),
        names=FEED_STATES,
    )


def _alerts() -> Table:
    panel = framed(
        Table(),
        "Alerts that fire or are about to",
        "Pending ones fire when they last. What to do about each is told in Alerting, Alert rules.",
        "none",
        promql("sum by (alertname, severity, alertstate, job, venue, symbol, queue) (ALERTS)", "", instant=True).format(
            PromQueryFormat.TABLE
        ),
    ).no_value("Nothing is wrong")
    hidden = {"Time": True, "Value": True}
    names = {"alertname": "Alert", "severity": "Severity", "alertstate": "State", "job": "Service"}
    names |= {"venue": "Venue", "symbol": "Symbol", "queue": "Queue"}
    organized = {"excludeByName": hidden, "renameByName": names}
    panel.with_transformation(DataTransformerConfig("organize", options=organized))
    return panel.cell_height(TableCellHeight.SM)


def _events() -> TimeSeries:
    return lines(
        "Events a second, stage by stage",
        "Books, prices and stored prices lie on each other while all is well; where they part, the later stage is"
        " behind. Each connection to the exchange brings every diff, so there are as many times more of them. Diffs and"
        " prices are those of the chosen venue, stored prices those of all.",
        PER_SECOND,
        promql(f"sum(rate({chosen('crawler_frames_total', DIFFS)}{RATE}))", "diffs received"),
        promql(f"sum(rate({chosen('crawler_books_total')}{RATE}))", "books published"),
        promql(f"sum(rate({chosen('converter_prices_total')}{RATE}))", "prices published"),
        promql(f'sum(rate(fairprice_storer_rows_total{{measurement="fair_price"}}{RATE}))', "prices stored"),
        colours={
            "diffs received": GREY, "books published": SKY, "prices published": ORANGE, "prices stored": GREEN,
        },
        calcs=["lastNotNull"],
    ).min(0)  # fmt: skip


def _latency() -> TimeSeries:
    stages = {"crawler": ("received", GREY), "converter": ("priced", ORANGE), "storer": ("stored", GREEN)}
    queries = [
        promql(_quantile(quantile, service), f"{name}{which}")
        for service, (name, _) in stages.items()
        for quantile, which in ((0.5, ""), (0.99, ", slowest 1 %"))
    ]
    panel = lines(
        "Time since the exchange's event, stage by stage",
        "Median and 99th percentile of the time from the exchange's event until it was received, priced and stored,"
        " read from histograms, so only as fine as their buckets. The first line is the way from the exchange, and the"
        " difference of two clocks.",
        "s",
        *queries,
        colours=dict(stages.values()),
        calcs=["lastNotNull"],
    ).min(0)
    dashed = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 4]})
    for name, colour in stages.values():
        panel.override_by_name(f"{name}, slowest 1 %", [fixed(colour), dashed])
    return panel


def _gaps() -> TimeSeries:
    panel = lines(
        "Gaps and synchronisations a minute",
        "Gaps are holes in the exchange's stream, each stored with its update ids. A synchronisation builds a book anew"
        " from a snapshot.",
        "none",
        promql(_a_minute("crawler_gaps"), "gaps"),
        promql(_a_minute("crawler_resyncs"), "synchronisations"),
        promql(_a_minute("crawler_reconnects"), "connections made again"),
        colours={"gaps": VERMILION, "synchronisations": SKY, "connections made again": GREY},
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _age() -> TimeSeries:
    panel = lines(
        "Age of the newest price",
        f"Time since the gateway received it; from {STALE_SECONDS} seconds on it counts as stale.",
        "s",
        promql(f"min by (venue, symbol) ({chosen('gateway_price_age_seconds')})", EACH),
        calcs=["max"],
    )
    return panel.min(0).axis_soft_max(1)


def _untrusted() -> TimeSeries:
    return lines(
        "Prices a second by status",
        "ok and locked carry a price; any other status says why there is none.",
        PER_SECOND,
        promql(f"sum by (status) (rate({chosen('converter_prices_total')}{RATE}))", "{{status}}"),
        colours={"ok": GREEN, "locked": ORANGE},
    ).min(0)


def _audits() -> TimeSeries:
    return lines(
        "Comparisons of books with the exchange a minute",
        "How often the top of a book was compared with the exchange's own best bid and ask. A match is right; several"
        " mismatches in a row make a new synchronisation, so prices heal.",
        "none",
        promql(_each_minute("outcome", "crawler_audits"), "{{outcome}}"),
        promql(_a_minute("crawler_refreshes", CONTRADICTIONS), "snapshots that contradict the book"),
        colours={"match": GREEN, "mismatch": VERMILION, "snapshots that contradict the book": ORANGE},
    ).min(0)


def _unaudited() -> StateTimeline:
    return states(
        "Books with nothing to compare with",
        "Unchecked: the exchange has sent no best bid and ask that fits the book for a minute. Prices go on, but nobody"
        " vouches for them.",
        promql(f"max by (venue, symbol) ({chosen('crawler_unaudited')})", EACH),
        names=(("checked", GOOD), ("unchecked", WARNING)),
    )


def _skew() -> TimeSeries:
    panel = lines(
        "The exchange's clock against this machine's",
        "Event time minus the time of arrival: a little below zero is right, it is the way from the exchange. Above"
        " zero the exchange's clock is ahead of this machine's, far below zero behind: set this machine's by NTP.",
        "s",
        promql(f"max by (venue) ({chosen('crawler_clock_skew_seconds')})", "{{venue}}"),
        calcs=["lastNotNull"],
    )
    return panel.axis_soft_min(-1).axis_soft_max(1)


def _diffs() -> TimeSeries:
    return lines(
        "Diffs that made no book, a second",
        "By what became of them: stale ones came before by another connection, those behind a snapshot are inside it,"
        " waiting ones came before their snapshot. One that is out of order came after a later one.",
        PER_SECOND,
        promql(f"sum by (outcome) (rate({chosen('crawler_diffs_total', IN_ORDER)}{RATE}))", "{{outcome}}"),
        promql(f"sum(rate({chosen('crawler_out_of_order_total')}{RATE}))", "out of order"),
        colours={"out of order": ORANGE},
    ).min(0)


def _snapshots() -> TimeSeries:
    panel = lines(
        "Snapshots a minute",
        "Requests by REST, and what became of those that renewed a book in sync: taken, or a contradiction, which"
        " starts a new synchronisation.",
        "none",
        promql(_each_minute("outcome", "crawler_snapshots"), "request {{outcome}}"),
        promql(_each_minute("outcome", "crawler_refreshes"), "renewal: {{outcome}}"),
        colours={"request fetched": SKY, "request failed": VERMILION, "renewal: contradiction": ORANGE},
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _connections() -> TimeSeries:
    return lines(
        "Open connections to the exchange",
        "As many as FAIRPRICE_STREAM_CONNECTIONS says, more where the symbols do not fit on one; one more for a moment"
        " while a connection is replaced.",
        "none",
        promql(f"sum by (venue) ({chosen('crawler_connections')})", "{{venue}}"),
        calcs=["lastNotNull"],
    ).min(0)


def _frames() -> TimeSeries:
    return lines(
        "Frames received a second by kind",
        "Repeats came by another connection before. Invalid ones contradict the exchange's own protocol.",
        PER_SECOND,
        promql(f"sum by (kind) (rate({chosen('crawler_frames_total')}{RATE}))", "{{kind}}"),
        colours={"diff": SKY, "ticker": GREEN, "repeat": GREY, "invalid": VERMILION},
    ).min(0)


def _missing() -> TimeSeries:
    panel = lines(
        "Updates of the exchange missed a minute",
        "Update ids inside the gaps that were recorded. Each id is one change of the book that no row covers.",
        "none",
        promql(f"60 * sum by (venue, symbol) (rate({chosen('crawler_missing_updates_total')}{RATE}))", EACH),
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _weight() -> TimeSeries:
    return lines(
        "REST weight used in this minute",
        "As the exchange reports it, for this machine's address. Snapshots wait when it comes near the limit.",
        "none",
        promql(f"max by (venue) ({chosen('crawler_request_weight')})", "{{venue}}"),
        calcs=["max"],
    ).min(0)


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
        promql(_each_minute("job", "broker_lost_connections"), "{{job}}"),
        colours=JOBS,
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _ready() -> TimeSeries:
    panel = lines(
        "Messages ready in the queues",
        "Not yet delivered. Near zero while consumers keep up; growing means that one is down or too slow. A message"
        " holds up to 100 events.",
        "none",
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages_ready{_queues(QUEUES)})", "{{queue}}"),
        colours=QUEUES,
        calcs=["lastNotNull", "max"],
    )
    return panel.min(0).axis_soft_max(10)


def _unacknowledged() -> TimeSeries:
    panel = lines(
        "Messages delivered, not yet acknowledged",
        "Being worked on. The storer holds them while InfluxDB takes nothing: a flat high line is its prefetch.",
        "none",
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages_unacked{_queues(QUEUES)})", "{{queue}}"),
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
        promql(f"sum by (queue) (rabbitmq_detailed_queue_messages{_queues(LAST_RESORTS)})", "{{queue}}"),
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


def _rows() -> TimeSeries:
    return lines(
        "Rows stored a second by measurement",
        "A fair_price row for each change of a book; an order_book row a second and symbol, unless set otherwise.",
        PER_SECOND,
        promql(f"sum by (measurement) (rate(fairprice_storer_rows_total{RATE}))", "{{measurement}}"),
        colours={"fair_price": GREEN, "order_book": SKY, "gap": VERMILION},
    ).min(0)


def _replies() -> TimeSeries:
    return lines(
        "InfluxDB's answers to writes, a second",
        "204: stored. 400 and 422: lines it cannot take, which become dead letters. 401, 403, 404: the storer's token"
        " or bucket is wrong. 5xx: overloaded; the storer keeps the rows and tries again.",
        PER_SECOND,
        promql(
            f'sum by (response_code) (rate(http_api_requests_total{{job="influxdb",path="/api/v2/write"}}{RATE}))',
            "{{response_code}}",
        ),
        colours={"204": GREEN, "400": ORANGE, "422": ORANGE, "401": VERMILION, "500": PURPLE, "503": PURPLE},
    ).min(0)


def _failures() -> TimeSeries:
    panel = lines(
        "What did not work, a minute",
        "Repeated writes: InfluxDB did not take a batch, which is tried again. Dead letters: lines that no service"
        " could read or InfluxDB refused. Invalid frames: the exchange sent what contradicts its own protocol.",
        "none",
        promql(_a_minute("storer_failures"), "repeated writes"),
        promql(f"{_a_minute('storer_invalid_lines')} + {_a_minute('converter_invalid_lines')}", "dead letters"),
        promql(_a_minute("crawler_frames", UNREADABLE), "invalid frames"),
        colours={"repeated writes": ORANGE, "dead letters": VERMILION, "invalid frames": PURPLE},
    )
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).min(0).axis_soft_max(1)


def _batches() -> TimeSeries:
    return lines(
        "Batches stored a second",
        "Writes that the store took, by the queue that they came from. Few and large ones while it is slow.",
        PER_SECOND,
        promql(f"sum by (queue) (rate({chosen('storer_batches_total')}{RATE}))", "{{queue}}"),
        colours=QUEUES,
    ).min(0)


def _trouble() -> StateTimeline:
    return states(
        "Whether the store takes what is written",
        "Trouble: the newest write of this queue was not taken and is repeated. Nothing is lost, messages wait.",
        promql(f"max by (queue) ({chosen('storer_trouble')})", "{{queue}}"),
        names=(("well", GOOD), ("trouble", BAD)),
    )


def _unknown_lines() -> TimeSeries:
    panel = lines(
        "Lines of a later version a minute",
        "Events that a newer service publishes and this one does not know. They are passed over; upgrade the service.",
        "none",
        promql(_a_minute("converter_unknown_lines"), "converter"),
        promql(_a_minute("storer_unknown_lines"), "storer"),
        colours=JOBS,
    )
    return panel.min(0).axis_soft_max(1)


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
        promql(_a_minute("gateway_dropped_messages"), "frames"),
        colours={"frames": ORANGE},
    )
    return panel.min(0).axis_soft_max(1)


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
        promql(
            f"sum by (job) (rate(process_cpu_seconds_total{RATE}) or {' or '.join(map(_busy, ERLANG_TIMES))})",
            "{{job}}",
        ),
        colours=JOBS,
    )
    return panel.min(0).axis_soft_max(0.5)


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


def _queues(names: dict[str, str]) -> str:
    return f'{{queue=~"{"|".join(names)}"}}'


def _quantile(quantile: float, service: str) -> str:
    labels = 'measurement="fair_price"' if service == "storer" else ""
    buckets = f"rate({chosen(f'{service}_latency_seconds_bucket', labels)}{RATE})"
    return f"histogram_quantile({quantile}, sum by (le) ({buckets}))"


def _a_minute(counter: str, labels: str = "") -> str:
    return f"(60 * sum(rate({chosen(f'{counter}_total', labels)}{RATE})) or vector(0))"


def _each_minute(label: str, counter: str) -> str:
    return f"60 * sum by ({label}) (rate({chosen(f'{counter}_total')}{RATE}))"
