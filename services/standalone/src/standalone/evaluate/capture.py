"""The instants of recordings: replayed through the crawler's own feeds and priced as the converter does."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from converter.forecast import FORECASTS
from converter.live import live_price
from converter.pricing import Pricer
from crawler.book.market_data import Ticker, Top
from crawler.recorder.reader import files_of
from crawler.recorder.verification import Lost, Verification, by_venue, venue_of
from fairprice.errors import InvalidMarketData, StartupError
from fairprice.messages import Book, Gap, Model, Quote
from standalone.evaluate.instants import LIVE, Sampler, Values, made_for
from standalone.evaluate.live import LivePrices

SECOND = 1_000_000

AHEAD = tuple(made_for("forecast_mid", round(seconds * SECOND)) for seconds in FORECASTS)
"""What `forecast_mid` would be, were it set to look ahead as far as each horizon for which a model has a beta."""


class Capture:
    """Recordings of one venue, and a sampler of each symbol in them, once they were `read`.

    `names` are the values that are kept of each book; `levels` a side are those of a book event. Raises `StartupError`
    where there is no recording, or where they are of different venues.
    """

    def __init__(self, paths: Iterable[Path], pricer: Pricer, names: Iterable[str], *, levels: int) -> None:
        files = files_of(paths)
        _check_venues(files)
        self.samplers: dict[str, Sampler] = {}
        self._verification = Verification(files, levels=levels, witness=self._witness)
        self._pricer = pricer
        self._names = (*names, *AHEAD)
        self._newest: dict[str, int] = {}
        self._live: dict[str, LivePrices] = {}

    @property
    def venue(self) -> str:
        """The venue's name."""
        return self._verification.venue.name

    @property
    def unreadable(self) -> int:
        """How many lines, or parts of files, cannot be read."""
        return self._verification.unreadable

    def read(self, is_stopped: Callable[[], bool]) -> None:
        """Read all; raises `StartupError` when it was stopped before, or where books or tickers are missing."""
        if not self._verification.run(is_stopped):
            raise StartupError("stopped before the end")
        samplers = self.samplers.values()
        if not any(sampler.books for sampler in samplers):
            raise StartupError("no book could be made: the recordings hold no snapshot that their diffs continue")
        if not any(sampler.tickers for sampler in samplers):
            raise StartupError("the recordings hold no tickers (bookTicker), whose mid estimates are measured against")

    def _witness(self, symbol: str, received_time: int, event: Book | Gap | Ticker | Lost) -> None:
        sampler = self.samplers.get(symbol)
        if sampler is None:
            live = self._live[symbol] = LivePrices(self._price)
            names = (*self._names, *(LIVE + name for name in self._names))
            sampler = self.samplers[symbol] = Sampler(names, has_tickers=True, live=live.values)
        match event:
            case Ticker():
                self._take_ticker(sampler, received_time, event)
            case Book():
                sampler.book(received_time, event.first_update_id, event.update_id, self._price(event))
                self._live[symbol].take_book(event)
            case Lost():
                sampler.lose(received_time)
                self._live[symbol].forget()
                self._newest.pop(symbol, None)
            case Gap():
                pass  # the ids of the next book tell it

    def _take_ticker(self, sampler: Sampler, received_time: int, ticker: Ticker) -> None:
        """Take a ticker, unless a connection that is ahead has brought it."""
        if ticker.update_id <= self._newest.get(ticker.symbol, -1):
            return
        try:
            top = ticker.top()
        except InvalidMarketData:
            sampler.lose(received_time)
            self._live[ticker.symbol].forget()
            return
        self._newest[ticker.symbol] = ticker.update_id
        sampler.ticker(received_time, _mid(top))
        self._live[ticker.symbol].take_top(ticker.update_id, top)

    def _price(self, of: Book | Quote) -> Values:
        priced = live_price(self._pricer, of, 0) if isinstance(of, Quote) else self._pricer.price(of, None)
        return {**priced.values, **_ahead(of.model, priced.values)}


def _ahead(model: Model | None, values: Values) -> Values:
    """Return the forecasts of each horizon, as `converter.forecast` tells them."""
    mid, imbalance = values["mid"], values["imbalance"]
    if mid is None or imbalance is None or model is None:
        return {}
    betas = model.beta_500ms, model.beta_1s, model.beta_5s
    return {name: mid + beta * imbalance for name, beta in zip(AHEAD, betas, strict=True)}


def _mid(top: Top) -> float | None:
    return (float(top.bid[0]) + float(top.ask[0])) / 2 if top.bid and top.ask else None


def _check_venues(files: Sequence[Path]) -> None:
    """Raise `StartupError` where the files are of more than one venue, or of none."""
    venues = by_venue(files)
    if len(venues) > 1:
        found = ", ".join(f"{group[-1]} is of {venue_of(group).name}" for group in venues)
        raise StartupError(f"the recordings are of different venues; name those of one at a time: {found}")
