"""From a book to its price event: which values the book determines, and the status that says why one is missing.

A book says itself how far it tells the whole: bids down to and including `floor`, asks up to and including `ceiling`;
without a bound it carries the whole side. Nothing beyond is used, and what needs more is null, each value for itself.
So a book whose floor is its own best bid (the ticker confirmed the top, the snapshot does not reach it any more) still
has a mid, but no impact price that its best levels do not fill, and no depth.

The status speaks of `price`, the value of the estimator that was chosen, whatever else is null. The first line that
applies gives it; `price` is null for every status but `ok` and `locked`.

    status              applies when                                                  what is left beside the ids
    ------------------  ------------------------------------------------------------  ------------------------------
    empty               the whole of both sides is known, and neither has a level     nothing
    no_bids, no_asks    the whole of one side is known, and it has none               the other side's best, if known
    beyond_reach        a side's best level lies, if anywhere, below the floor or     the other side's best, if known
                        above the ceiling, so that nobody knows it
    crossed             best bid above best ask: a fault of the feed                  both bests, the negative spread
    locked              best bid equals best ask, and the estimator has a value       what is known
    ok                  the estimator has a value                                     what is known
    beyond_reach        the estimator follows the first levels, and not all are known what is known
    insufficient_depth  the estimator needs more than a side has, all of it known     what is known
    feed_truncated      the estimator needs more than is known of a side              what is known
    learning            the estimator needs a model, and the book brings none         what is known

A depth band is known when its edge does not lie beyond the bound, an impact price when the known levels fill its
notional. The bands need a model, and two sides that are not crossed.
"""

from collections.abc import Iterable
from decimal import Decimal

from converter import fair_price
from converter.curve import curve
from converter.estimators import ESTIMATORS, Known
from converter.fair_price import BASIS_POINTS, Ratio
from converter.forecast import band, expected_mid
from converter.levels import ASK, BID, FinerThanScaleError, Scale, Scaled, Side, read_side
from fairprice.messages import PRICE_VALUES, Book, Model, Price, Quote

USUAL_DECIMALS = 8
"""As Binance writes all its numbers."""

MOST_DECIMALS = 40
"""As the wire allows."""

Values = dict[str, float | None]


class Pricer:
    """Prices books with fixed choices.

    `estimator` is one of `ESTIMATORS`. `depth_bps` are the half-widths of the depth bands, basis points of the mid.
    `impact_notionals` (quote units, at most 16 decimals) are those of the impact prices, the first of them also that of
    the impact mid. The curve mid follows the book to a half spread of `curve_bps`, the forecast looks
    `forecast_seconds` ahead, one of `FORECASTS`.
    """

    def __init__(
        self,
        estimator: str,
        depth_bps: Iterable[Decimal],
        impact_notionals: Iterable[Decimal],
        curve_bps: Decimal = Decimal(1),
        forecast_seconds: float = 1.0,
    ) -> None:
        self.estimator = estimator
        widths = [(bps.as_integer_ratio(), _name(bps)) for bps in sorted(depth_bps)]
        self._bid_bands = [(bps, f"depth_bid_{name}bps") for bps, name in widths]
        self._ask_bands = [(bps, f"depth_ask_{name}bps") for bps, name in widths]
        amounts = [(notional.as_integer_ratio(), _name(notional)) for notional in impact_notionals]
        self._impacts = [(notional, f"impact_bid_{name}", f"impact_ask_{name}") for notional, name in amounts]
        bands = [name for _, name in (*self._bid_bands, *self._ask_bands)]
        impacts = [name for _, *names in self._impacts for name in names]
        self._nothing: Values = dict.fromkeys((*PRICE_VALUES, *bands, *impacts))
        self._curve_most = (curve_bps / BASIS_POINTS).as_integer_ratio()
        self._forecast_seconds = forecast_seconds
        self._usual = Scale(USUAL_DECIMALS)
        self._finest = Scale(MOST_DECIMALS)

    def price(self, book: Book, priced_time: int | None) -> Price:
        """Return the book's price; raises as `evaluate` does."""
        status, values = self.evaluate(book)
        return Price(
            book.venue,
            book.symbol,
            book.first_update_id,
            book.update_id,
            book.event_time,
            book.received_time,
            priced_time,
            self.estimator,
            status,
            values[self.estimator],
            values,
        )

    def evaluate(self, book: Book | Quote) -> tuple[str, Values]:
        """Return status and values; raises `InvalidMarketData` when a price is zero or occurs twice in a side."""
        try:
            return self._evaluate(book, self._usual)
        except FinerThanScaleError:
            return self._evaluate(book, self._finest)

    def _evaluate(self, book: Book | Quote, scale: Scale) -> tuple[str, Values]:
        bids = read_side(BID, book.bids, book.floor, scale)
        asks = read_side(ASK, book.asks, book.ceiling, scale)
        bid, ask, unit = bids.best, asks.best, scale.unit
        values = self._nothing.copy()
        if bid:
            values["bid"], values["bid_size"] = bid[0] / unit, bid[1] / unit
        if ask:
            values["ask"], values["ask_size"] = ask[0] / unit, ask[1] / unit
        if not (bid and ask):
            return _missing_side(bids, asks), values
        values["spread"] = fair_price.spread(bid, ask, unit)
        if bid[0] > ask[0]:
            return "crossed", values
        values["spread_bps"] = fair_price.spread_bps(bid, ask)
        values["imbalance"] = fair_price.imbalance(bid, ask)
        self._add_depths(values, bids, asks, bid[0] + ask[0], unit)
        fills = self._add_impacts(values, bids, asks, unit)
        followed = curve(bids, asks, self._curve_most, unit)
        if followed:
            values["curve_bps"] = followed.bps
        status = "locked" if bid[0] == ask[0] else "ok"
        expected = self._add_bands(values, book.model, bid, ask, unit) if book.model else None
        known = Known(bid, ask, bids, asks, fills, followed, unit, expected)
        for name, estimate in ESTIMATORS.items():
            value = estimate(known)
            if isinstance(value, float):
                values[name] = value
            elif name == self.estimator:
                status = value
        return status, values

    def _add_bands(self, values: Values, model: Model, bid: Scaled, ask: Scaled, unit: int) -> Ratio:
        """Add the bands; return the expected mid.

        That of ten seconds lies around the mid expected in five: later an imbalance says nothing any more.
        """
        near, far = (expected_mid(bid, ask, beta, unit) for beta in (model.beta_1s, model.beta_5s))
        if model.half_width_1s is not None:
            values["band_1s_low"], values["band_1s_high"] = band(near, model.half_width_1s)
        if model.half_width_10s is not None:
            values["band_10s_low"], values["band_10s_high"] = band(far, model.half_width_10s)
        wanted = {1.0: near, 5.0: far}.get(self._forecast_seconds)
        return wanted or expected_mid(bid, ask, model.beta_500ms, unit)

    def _add_impacts(self, values: Values, bids: Side, asks: Side, unit: int) -> tuple[Ratio | None, Ratio | None]:
        """Add the impact prices; return the two of the first notional."""
        fills = []
        for (numerator, denominator), bid_name, ask_name in self._impacts:
            notional = numerator * unit * unit // denominator
            bid = fair_price.impact(bids.levels(), notional)
            ask = fair_price.impact(asks.levels(), notional)
            if bid:
                values[bid_name] = fair_price.average(bid, unit)
            if ask:
                values[ask_name] = fair_price.average(ask, unit)
            fills.append((bid, ask))
        return fills[0]

    def _add_depths(self, values: Values, bids: Side, asks: Side, twice_mid: int, unit: int) -> None:
        for side, bands in ((bids, self._bid_bands), (asks, self._ask_bands)):
            for bps, name in bands:
                edge = fair_price.band_edge(twice_mid, bps, side.towards)
                if side.reach is not None and (edge - side.reach) * side.towards < 0:
                    break  # not known, nor are the wider ones
                values[name] = fair_price.depth(side, edge) / unit


def _missing_side(bids: Side, asks: Side) -> str:
    no_bids = not (bids.prices or bids.is_beyond_reach)
    no_asks = not (asks.prices or asks.is_beyond_reach)
    if no_bids:
        return "empty" if no_asks else "no_bids"
    return "no_asks" if no_asks else "beyond_reach"


def _name(number: Decimal) -> str:
    return format(number.normalize(), "f").replace(".", "_")
