"""What one write takes: the points of some messages, and what is needed to acknowledge or to refuse them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairprice.broker.port import Delivery, Message
from fairprice.errors import InvalidLine, InvalidMessage, UnknownLine
from fairprice.messages import check_type, lines
from storer.measurements import Point

Translate = Callable[[bytes], Iterable[Point]]
"""Returns the points of a line, none if it is not stored; raises `InvalidLine`, at the latest when they are looked at,
also for what the queue may not hold."""


@dataclass(slots=True)
class Entry:
    """A line, or all lines of a message that cannot be read, with the message that held it."""

    line: bytes
    source: Message


@dataclass(slots=True)
class Batch:
    """`entries` are where the `points` come from, one each; `invalid` are those without a point, and why.

    `since` is when the first messages came, in monotonic seconds.
    """

    points: list[Point] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    invalid: list[tuple[Entry, str]] = field(default_factory=list)
    unknown_lines: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    since: float = 0.0

    def add(self, deliveries: list[Delivery], message_type: str, translate: Translate, now: float) -> None:
        """Add the points of every line that is stored; a message of another type is refused whole."""
        if not self.deliveries:
            self.since = now
        self.deliveries += deliveries
        for message in (delivery.message for delivery in deliveries):
            try:
                check_type(message.type, message_type)
            except InvalidMessage as refusal:
                self.invalid.append((Entry(message.body, message), str(refusal)))
                continue
            for line in lines(message.body):
                self._add_line(Entry(line, message), translate)

    def _add_line(self, entry: Entry, translate: Translate) -> None:
        try:
            points = [*translate(entry.line)]
        except UnknownLine:
            self.unknown_lines += 1
        except InvalidLine as error:
            self.invalid.append((entry, error.reason))
        else:
            self.points += points
            self.entries += [entry] * len(points)
