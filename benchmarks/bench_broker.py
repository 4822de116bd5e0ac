"""A broker hop: books published with confirms into both queues of `books` and acknowledged by a consumer of each."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.processes import running
from benchmarks.rounds import ratio
from benchmarks.servers import room
from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER

WORKER = "benchmarks.hop_worker"
QUEUES = (BOOKS_CONVERTER, BOOKS_STORER)
OURS, THEIRS, THEIRS_ON_UVLOOP = "", "-by-aio-pika", "-by-aio-pika-on-uvloop"
EVENTS = {OURS: 60_000, THEIRS: 10_000, THEIRS_ON_UVLOOP: 10_000}
NAMES = {
    OURS: "outbox and subscriptions",
    THEIRS: "aio-pika, an event a message, window 500",
    THEIRS_ON_UVLOOP: "the same on uvloop",
}


@dataclass(frozen=True)
class Hop:
    """Events a second until the last confirmation and until the last acknowledgement; CPU seconds per 100,000."""

    confirmed: float
    acknowledged: float
    publisher: float
    consumers: float


def report(rounds: int) -> Iterator[str]:
    """Yield the figures, a line each."""
    hops: dict[str, list[Hop]] = {variant: [] for variant in EVENTS}
    for _ in range(rounds):
        for variant, events in EVENTS.items():
            hops[variant].append(_hop(variant, events))
    for variant, each in hops.items():
        yield f"broker hop, {NAMES[variant]}: {_told(each)}"
    ours = [hop.acknowledged for hop in hops[OURS]]
    for variant in (THEIRS, THEIRS_ON_UVLOOP):
        acknowledged = ratio(ours, [hop.acknowledged for hop in hops[variant]])
        confirmed = ratio(ours, [hop.confirmed for hop in hops[variant]])
        yield f"broker hop: {acknowledged} the rate of {NAMES[variant]}, {confirmed} the rate of its publishing"


def _hop(variant: str, events: int) -> Hop:
    with room() as servers, ExitStack() as stack:
        servers.declare()
        roles: list[tuple[str, ...]] = [(f"consume{variant}", str(events), queue) for queue in QUEUES]
        roles.append((f"publish{variant}", str(events)))
        workers = [stack.enter_context(running(WORKER, *role, environ=servers.environ)) for role in roles]
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.go()
        *consumers, publisher = [worker.result() for worker in workers]
    ended = max(consumer.ended for consumer in consumers)
    return Hop(
        events / (publisher.ended - publisher.began),
        events / (max(ended, publisher.ended) - publisher.began),
        publisher.cpu / events * 100_000,
        sum(consumer.cpu for consumer in consumers) / events * 100_000,
    )


def _told(hops: list[Hop]) -> str:
    confirmed, acknowledged, publisher, consumers = (
        median(getattr(hop, name) for hop in hops) for name in ("confirmed", "acknowledged", "publisher", "consumers")
    )
    return (
        f"{acknowledged:,.0f} events/s acknowledged by both consumers, {confirmed:,.0f}/s confirmed; "
        f"CPU s per 100,000: publisher {publisher:.2f}, consumers {consumers:.2f}"
    )
