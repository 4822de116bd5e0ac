"""What comes out of the synchronisation of one symbol. Pure."""

from typing import NamedTuple

from crawler.book.chain import ChainTime
from crawler.book.depth import Values
from crawler.book.market_data import Diff
from crawler.book.reach import Reach
from fairprice.messages import Level


class SnapshotRequest(NamedTuple):
    """Asks for a snapshot of `symbol`; `attempt` counts those in a row that did not lead to a sound book.

    Of one that is `shallow` the best levels are enough: what follows asks for the others. No book waits for one in the
    `background`; where the book is lost meanwhile, another request takes its place.
    """

    symbol: str
    attempt: int
    shallow: bool = False
    background: bool = False


class Fact(NamedTuple):
    """Something that has happened to a symbol's book and that a person may want to know."""

    symbol: str
    kind: str
    detail: str = ""


class Compared(NamedTuple):
    """How the book and a fresh snapshot of the same id agree: levels that both should have, and how many differ."""

    symbol: str
    event_time: int
    update_id: int
    levels: int
    wrong: int


class Applied(NamedTuple):
    """A diff that continued the book, and the book's best levels right after it, best first.

    `bids_cut` and `asks_cut` say that the book holds more levels than these. `is_first` marks the first diff on a
    snapshot that a synchronisation began with. `depth` is that of the whole book, where it is to be published.
    """

    diff: Diff
    times: ChainTime
    received_time: int
    bids: list[Level]
    asks: list[Level]
    bids_cut: bool
    asks_cut: bool
    reach: Reach
    is_first: bool
    depth: Values | None = None


Step = Applied | SnapshotRequest | Fact | Compared
