"""What goes wrong in a soak, in which order. Pure: the same seed gives the same blows."""

from collections.abc import Iterator, Sequence
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

ID_RESET = 10**7
"""How much lower ids are that begin anew: more than there are in what the exchange remembers, and little enough for
hundreds of resets."""

HALT = "halt"
KILL = "kill"
FREEZE = "freeze"
OTHERS = (HALT, KILL, FREEZE)
"""What goes wrong beside the exchange's streams: a symbol stops trading for a while, a service is killed or frozen."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that goes wrong: its kind, the symbol or service that it hits, and the faults that bring it about."""

    kind: str
    symbol: str
    victim: str
    faults: tuple[Fault, ...] = ()

    def falls_on(self, symbol: str) -> bool:
        """Return whether it may change what is known of a symbol."""
        return self.kind in {KILL, FREEZE} or any(fault.symbol in {symbol, None} for fault in self.faults)

    def __str__(self) -> str:
        shown = [self.faults[-1].variant, self.faults[-1].scope] if self.faults else [self.victim]
        return " ".join(filter(None, (self.kind, *shown)))


def kinds(*, can_freeze: bool) -> list[str]:
    """Return the kinds that can happen."""
    return [kind for kind in (*KINDS, *OTHERS) if can_freeze or kind != FREEZE]


def blows(random: Random, symbols: Sequence[str], victims: Sequence[str], possible: Sequence[str]) -> Iterator[Blow]:
    """Yield blows without end; each possible kind once, in any order, before any comes again."""
    while True:
        for kind in random.sample(possible, len(possible)):
            symbol = random.choice(symbols)
            yield Blow(kind, symbol, random.choice(victims), _faults(random, kind, symbol))


def _faults(random: Random, kind: str, symbol: str) -> tuple[Fault, ...]:
    if kind in OTHERS:
        return ()
    variant = random.choice([each for each in KINDS[kind].variants if each not in FATAL])
    fault = Fault(kind, symbol, variant=variant, seconds=LASTING.get(kind), scope=random.choice(("all", "one")))
    if kind in {"id_reset", "clock"}:
        fault = replace(fault, scope="all")
    if kind == "id_reset":
        fault = replace(fault, value=ID_RESET)
    if kind == "clock":
        fault = replace(fault, seconds=random.choice((-0.5, 0.2)))
    if kind in NEEDS_SNAPSHOT:
        return Fault("drop", symbol), fault
    if kind in NEEDS_CONNECTION:
        return Fault("disconnect", scope="one"), replace(fault, symbol=None)
    return (fault,)
