"""The events, and which values they hold.

Prices and quantities that the exchange sent stay decimal strings; derived values are numbers. All times are integer
microseconds since the epoch. Events are made once and never changed; they are not frozen only because that would double
the cost of making and encoding them, thousands of times a second.
"""

import re
from dataclasses import dataclass

from fairprice.estimates import ESTIMATES
from fairprice.kinds import Decimal, DepthValues, Integer, Levels, Name, Number, PriceValues, Real, Size, Text, Truth

DEPTH_VALUE = re.compile(r"(bid|ask)_(quantity|value)_[0-9]{1,20}(_[0-9]{1,20})?bps")
"""Names of what a depth event holds: base quantity and quote value within so many basis points of the mid."""

PRICE_VALUES = (
    "bid", "ask", "bid_size", "ask_size", "spread", "spread_bps", "imbalance", *ESTIMATES, "curve_bps",
    "band_1s_low", "band_1s_high", "band_10s_low", "band_10s_high",
)  # fmt: skip
"""Values beside `price` that are known; one that an older `Price` lacks is None."""

PRICED = frozenset({"ok", "locked"})
"""The statuses with a price."""

CONFIGURED_VALUE = re.compile(
    r"depth_(bid|ask)_[0-9]{1,20}(_[0-9]{1,20})?bps|impact_(bid|ask)_[0-9]{1,20}(_[0-9]{1,20})?"
)
"""Names of the values that settings add: base quantity within so many basis points of the mid, and the average
fill price of a quote notional. A decimal point in the setting is written `_`."""


@dataclass
class Model:
    """What the two minutes of books before `block` say of the seconds to come; it holds for the books of that block.

    `block` is where it begins, ten seconds of the exchange's time. `beta_...` is how far, in quote units, the mid moves
    within that time per imbalance of the best sizes; nine of ten moves should be at most `half_width_...`, None where
    too few were seen. `observations_...` is how many moves were.
    """

    block: Integer
    beta_500ms: Real
    beta_1s: Real
    beta_5s: Real
    half_width_1s: Size | None
    half_width_10s: Size | None
    observations_500ms: Integer
    observations_1s: Integer
    observations_5s: Integer
    observations_10s: Integer


@dataclass
class Book:
    """The best levels of an in-sync order book right after one diff.

    `first_update_id` to `update_id` are the exchange's ids that this book adds to the one before it.
    `previous_event_time` is the time of the exchange's update before it, published or not, None where none is known.
    `bids` and `asks` are best first. Between `floor` and `ceiling` every level is known; None means no bound.
    `crawler` names the instance that saw it. `model` is None while there is none; an older crawler has none ever.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    previous_event_time: Integer | None
    received_time: Integer
    crawler: Name
    bids: Levels
    asks: Levels
    floor: Decimal | None
    ceiling: Decimal | None
    model: Model | None = None


@dataclass
class Gap:
    """Update ids that no published book covers, from the last book before them to the first one after them."""

    venue: Name
    symbol: Name
    from_update_id: Integer
    to_update_id: Integer
    from_time: Integer
    to_time: Integer
    reason: Name


@dataclass
class Start:
    """With which book a crawler begins a symbol of which it knows no earlier one, right before that book.

    Ids and time are the book's. What is missing before it only stored rows can tell.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    crawler: Name


@dataclass
class Price:
    """The fair price of one book, or the reason why there is none.

    `price` is the value of `estimator`, None exactly when `status` is not one of `PRICED`. `values` holds every number
    beside it under the names of `PRICE_VALUES` and `CONFIGURED_VALUE`; None where the book does not determine it.
    `priced_time` is None in a replay, whose clock means nothing.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    received_time: Integer
    priced_time: Integer | None
    estimator: Name
    status: Name
    price: Number | None
    values: PriceValues


@dataclass
class Quote:
    """The levels of a published book with the best bid and ask that the exchange has told since.

    `first_update_id`, `update_id` and `event_time` are the book's, `ticker_id` and `received_time` those of what was
    told, its id beyond the book's. What is better than the new best is gone; what is worse is as the book had it.
    Between `floor` and `ceiling` the book knew every level. For the live view only: no row comes of it.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    ticker_id: Integer
    received_time: Integer
    crawler: Name
    bids: Levels
    asks: Levels
    floor: Decimal | None
    ceiling: Decimal | None
    model: Model | None = None


@dataclass
class Live:
    """The price of a quote, with the levels that it was made of; the fields of `Price` mean what they mean there.

    The ids up to `event_time` are the book's, `ticker_id` and `received_time` those of the best bid and ask in it.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    ticker_id: Integer
    received_time: Integer
    priced_time: Integer | None
    estimator: Name
    status: Name
    price: Number | None
    bids: Levels
    asks: Levels
    values: PriceValues


@dataclass
class Status:
    """What a crawler knows of a symbol beside its book, published when it changes and once a minute.

    `event_time` is the crawler's clock. `exchange_status` is the exchange's own word (`TRADING`, `BREAK`) or
    `UNLISTED`, `is_halted` what it means. `problem` is a sentence for a person, None while there is none.
    `model_time` is the exchange's time from which on its books bring a model, None where they do or nobody knows.
    """

    venue: Name
    symbol: Name
    event_time: Integer
    crawler: Name
    exchange_status: Name
    is_halted: Truth
    problem: Text | None
    model_time: Integer | None = None


@dataclass
class Audit:
    """What one crawler compared with the exchange's own account, for one symbol and minute of the exchange's time.

    `event_time` is where the minute begins, the ids are those of the books published in it. `tops` were compared with
    the ticker and `levels` with a fresh snapshot; so many of these were `wrong` and `levels_wrong`.
    """

    venue: Name
    symbol: Name
    event_time: Integer
    crawler: Name
    from_update_id: Integer
    to_update_id: Integer
    tops: Integer
    wrong: Integer
    levels: Integer
    levels_wrong: Integer


@dataclass
class Depth:
    """How much the whole known book holds right after the first diff of an interval of the exchange's time.

    `values` holds base quantity and quote value under the names of `DEPTH_VALUE`; None beyond what is known.
    """

    venue: Name
    symbol: Name
    update_id: Integer
    event_time: Integer
    crawler: Name
    values: DepthValues


Event = Book | Gap | Start | Price | Status | Audit | Depth | Quote | Live
