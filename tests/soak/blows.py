"""What goes wrong in a soak, in which order. Pure: the same seed gives the same blows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from simulator import KINDS, Fault

FATAL = {"451"}
"""Variants that end a crawler, as they should: tested apart."""

LASTING = {"silence": 12.0, "stop_pings": 30.0, "refuse": 2.0, "server_shutdown": 2.0, "late_ack": 3.0,
           "slow_snapshot": 3.0, "rate_limit": 2.0, "stale_snapshot": 8.0}  # fmt: skip
"""Seconds of the exchange's time, shorter than those of a bad day: many fit into minutes."""

NEEDS_SNAPSHOT = {"stale_snapshot", "boundary_snapshot", "slow_snapshot", "sparse_snapshot", "fail_snapshot",
                  "rate_limit"}  # fmt: skip
"""Kinds that hit an answer by REST: a diff is dropped on all connections, so that one is asked for."""

NEEDS_CONNECTION = {"refuse", "late_ack", "no_ack", "wrong_ack_id", "double_ack", "error_ack"}
"""Kinds that hit a connection that is being made: one is cut first."""

HALT = "halt"
KILL = "kill"
OTHERS = (HALT, KILL)
"""What goes wrong beside the exchange's streams: a symbol stops trading for a while, a crawler is killed."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that goes wrong: its kind, the symbol that it hits, and the faults that bring it about."""

    kind: str
    symbol: str
    faults: tuple[Fault, ...] = ()
    crawler: int = 0


def blows(random: Random, symbols: Sequence[str], crawlers: int) -> Iterator[Blow]:
    """Yield blows without end; each kind once, in any order, before any comes again."""
    while True:
        kinds = [*KINDS, *OTHERS]
        random.shuffle(kinds)
        for kind in kinds:
            symbol = random.choice(symbols)
            yield Blow(kind, symbol, _faults(random, kind, symbol), random.randrange(crawlers))


def rare(happened: Mapping[str, int], times: int) -> list[str]:
    """Return the kinds that have happened less often than that."""
    return [kind for kind in (*KINDS, *OTHERS) if happened.get(kind, 0) < times]


def _faults(random: Random, kind: str, symbol: str) -> tuple[Fault, ...]:
    if kind in OTHERS:
        return ()
    variant = random.choice([each for each in KINDS[kind].variants if each not in FATAL])
    fault = Fault(kind, symbol, variant=variant, seconds=LASTING.get(kind), scope=random.choice(("all", "one")))
    if kind in {"id_reset", "clock"}:
        fault = replace(fault, scope="all")
    if kind == "clock":
        fault = replace(fault, seconds=random.choice((-0.5, 0.2)))
    if kind in NEEDS_SNAPSHOT:
        return Fault("drop", symbol), fault
    if kind in NEEDS_CONNECTION:
        return Fault("disconnect", scope="one"), replace(fault, symbol=None)
    return (fault,)
