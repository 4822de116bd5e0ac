"""The states of a feed and the statuses of a price: one list, which the page is served too."""

from collections.abc import Mapping
from enum import StrEnum

from fairprice.messages import PRICED as TRUSTED

__all__ = ["STATES", "STATUSES", "TRUSTED", "UNLISTED", "State"]

UNLISTED = "UNLISTED"
"""What a crawler puts in place of the exchange's word for a symbol that the exchange does not list."""


class State(StrEnum):
    """Whether the newest price of a symbol can be trusted."""

    WAITING = "waiting"
    LIVE = "live"
    UNTRUSTED = "untrusted"
    DISPUTED = "disputed"
    STALE = "stale"
    HALTED = "halted"
    UNLISTED = "unlisted"


STATES: Mapping[State, str] = {
    State.WAITING: "no price has arrived yet",
    State.LIVE: "the newest price is fresh and can be trusted",
    State.UNTRUSTED: "the newest price is fresh, but its status says that it means nothing",
    State.DISPUTED: "the newest price is fresh, but for a second the live view has told another best bid or ask",
    State.STALE: "no new price for too long",
    State.HALTED: "the exchange says that it does not trade the symbol now",
    State.UNLISTED: "the exchange does not list the symbol",
}

STATUSES: Mapping[str, str] = {
    "ok": "the book determines the price",
    "locked": "best bid and best ask are equal",
    "crossed": "the order book is crossed",
    "empty": "the order book is empty",
    "no_bids": "the order book has no bids",
    "no_asks": "the order book has no asks",
    "beyond_reach": "the market has moved to where not all levels are known",
    "insufficient_depth": "the order book is too thin",
    "feed_truncated": "more levels are needed than are known",
    "learning": "it takes two minutes of books without a gap",
}
"""What each status of a price says about the order book it was made of."""
