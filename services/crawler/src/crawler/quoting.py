"""Casts a quote of what a ticker says, for the live view only: nothing waits for it, and it waits for nothing."""

import asyncio
from collections.abc import Iterator, Mapping

from crawler.book.feed import Feed
from crawler.book.market_data import Ticker
from crawler.book.quote import Pace, Waiting
from fairprice.broker.port import Broker, Message
from fairprice.messages import QUOTES_TYPE, Quote, encode, join
from fairprice.runtime.clock import Clock
from fairprice.topology import QUOTES


class Quoting:
    """Quotes of the books of `feeds`, at most one of a symbol each `interval` seconds; `run` has to be running."""

    def __init__(
        self, feeds: Mapping[str, Feed], broker: Broker, app_id: str, *, interval: float, clock: Clock
    ) -> None:
        self.quotes = 0
        """Quotes made so far, whether they got anywhere or not."""
        self._feeds = feeds
        self._broker = broker
        self._app_id = app_id
        self._clock = clock
        self._pace = Pace(interval)
        self._filled = asyncio.Event()

    def take(self, ticker: Ticker) -> None:
        """Let a quote be made of it as soon as one is due."""
        self._pace.add(Waiting(ticker, self._clock.wall()))
        self._filled.set()

    async def run(self) -> None:
        """Cast until cancelled: what comes in one turn of the loop, or a moment after a cast, leaves together."""
        while True:
            await self._filled.wait()
            if pause := self._pace.pause(self._clock.monotonic()):
                await self._clock.sleep(pause)
            self._cast([*self._made(self._pace.take(self._clock.monotonic()))])
            if not self._pace:
                self._filled.clear()

    def _made(self, waiting: list[Waiting]) -> Iterator[Quote]:
        for ticker, received_time in waiting:
            feed = self._feeds.get(ticker.symbol)
            if feed and (quote := feed.quote(ticker, received_time)):
                yield quote

    def _cast(self, quotes: list[Quote]) -> None:
        if not quotes:
            return
        self.quotes += len(quotes)
        first = quotes[0]
        symbols = tuple(f"{quote.venue}.{quote.symbol}" for quote in quotes)
        message = Message(
            body=join(map(encode, quotes)),
            type=QUOTES_TYPE,
            message_id=f"{QUOTES_TYPE}/{symbols[0]}:{first.ticker_id}/{len(quotes)}",
            app_id=self._app_id,
            timestamp=self._clock.wall(),
            routing_key=symbols[0] if len(symbols) == 1 else "batch",
            symbols=symbols,
        )
        self._broker.cast(QUOTES, message)
