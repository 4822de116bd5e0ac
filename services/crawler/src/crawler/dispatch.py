"""Hands each event of the streams to the feed of its symbol, and what that returns to whom it is for."""

from collections.abc import Callable, Iterable, Mapping

from crawler.book.feed import Feed, Output
from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.book.steps import Fact, SnapshotRequest
from crawler.quoting import Quoting
from crawler.report import Report
from crawler.snapshots import NoneLeft
from crawler.stream_events import Disconnected, StreamEvent, Suspected, Unreadable
from crawler.tap import Outgoing
from fairprice.messages import Book, Depth, Gap, Start
from fairprice.runtime.clock import Clock


class Dispatch:
    """Stands between the streams and the feeds; `outgoing` takes what is published, `ask` requests for snapshots.

    An event of a symbol that has no feed (any more) is passed over. `quoting` is shown the tickers.
    """

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        report: Report,
        outgoing: Outgoing,
        ask: Callable[[SnapshotRequest], None],
        clock: Clock,
        *,
        quoting: Quoting | None = None,
    ) -> None:
        self._feeds = feeds
        self._report = report
        self._outgoing = outgoing
        self._ask = ask
        self._clock = clock
        self._quoting = quoting

    def receive(self, event: StreamEvent) -> None:
        """Take what the streams say."""
        match event:
            case Ticker():
                feed = self._feeds.get(event.symbol)
                if feed and (outputs := feed.receive_ticker(event)):
                    self._publish(outputs)
                if self._quoting:
                    self._quoting.take(event)
            case Diff():
                if feed := self._feeds.get(event.symbol):
                    now = self._clock.wall()
                    self._report.count_diff(event.event_time, now)
                    self._publish(feed.receive_diff(event, now))
            case Snapshot():
                self.receive_snapshot(event)
            case Unreadable():
                self._report.count_unreadable(event)
                self._expect_loss((event.symbol,) if event.symbol else (), "unreadable_frame")
            case Disconnected() | Suspected():
                self._expect_loss(event.symbols, "disconnect" if isinstance(event, Disconnected) else "silence")

    def receive_snapshot(self, answer: Snapshot | NoneLeft) -> None:
        """Take a snapshot, or that there will be none."""
        if feed := self._feeds.get(answer.symbol):
            self._publish(feed.end_snapshots() if isinstance(answer, NoneLeft) else feed.receive_snapshot(answer))

    def tick(self, now: float) -> None:
        """Let all feeds take a reading of the monotonic clock."""
        for feed in self._feeds.values():
            self._publish(feed.tick(now))

    def publish_audits(self) -> None:
        """Publish what was compared in the minutes that are over."""
        for feed in self._feeds.values():
            self._publish_audits(feed)

    def end(self, feed: Feed) -> None:
        """Publish what is left of a feed that gets nothing more."""
        self._publish(feed.end())
        self._publish_audits(feed, at_end=True)

    def _expect_loss(self, symbols: Iterable[str], reason: str) -> None:
        for symbol in symbols:
            if feed := self._feeds.get(symbol):
                self._publish(feed.expect_loss(reason))

    def _publish(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Book() | Gap():
                    self._report.count(output)
                    self._outgoing.put(output)
                case Start() | Depth():
                    self._outgoing.put(output)
                case SnapshotRequest():
                    self._ask(output)
                case Fact():
                    self._report.log_fact(output)

    def _publish_audits(self, feed: Feed, *, at_end: bool = False) -> None:
        for audit in feed.take_audits(at_end=at_end):
            self._outgoing.put(audit)
