"""Events that tests send, like those of an exchange, and their messages."""

from dataclasses import replace

from fairprice.broker.port import Message
from fairprice.messages import PRICE_VALUES, Audit, Book, Event, Gap, Price, Start, encode, join

START = 1_723_075_200_000_000
"""An hour of 2024; events are a millisecond apart."""


def price(number: int, **changes: object) -> Price:
    values = {name: number + place / 7 for place, name in enumerate(PRICE_VALUES)}
    time = START + number * 1000
    first = Price("binance", "BTCUSDT", number, number, time, 0, None, "mid", "ok", number + 0.25, values)
    return replace(first, **changes)


def book(number: int, **changes: object) -> Book:
    sides = [[f"{100 - n}.10000000", f"{number}.{n:03}"] for n in range(3)], [["101.2", "0.00000001"]]
    time = START + number * 1000
    first = Book("binance", "BTCUSDT", number, number, time, None, 0, "a", *sides, None, None)
    return replace(first, **changes)


def gap(number: int) -> Gap:
    start = START + number * 1000
    return Gap("binance", "BTCUSDT", number, number + 5, start, start + 1500, "sequence")


def start(number: int) -> Start:
    return Start("binance", "BTCUSDT", number, number, START + number * 1000, "a")


def audit(minute: int, **changes: object) -> Audit:
    first = Audit("binance", "BTCUSDT", START + minute * 60_000_000, "a", 1, 9, 9, wrong=0, levels=0, levels_wrong=0)
    return replace(first, **changes)


def message(*events: Event | bytes, identity: str = "m") -> Message:
    body = join(event if isinstance(event, bytes) else encode(event) for event in events)
    return Message(body, "", identity, "test", 1, "binance.BTCUSDT", ("binance.BTCUSDT",))
