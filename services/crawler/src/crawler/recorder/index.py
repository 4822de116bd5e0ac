"""What a file of a recording holds, as JSON beside it: for people, and for whoever looks for a time."""

from dataclasses import asdict, dataclass, field

import orjson

from crawler.book.market_data import Diff
from fairprice import __version__
from fairprice.messages import Audit, Gap

ENDING = ".index.json"


@dataclass(slots=True)
class SymbolIndex:
    """One symbol in one file: its diffs' ids and event times (microseconds), tops and levels compared, and wrong."""

    first_update_id: int = 0
    last_update_id: int = 0
    first_event_time: int = 0
    last_event_time: int = 0
    diffs: int = 0
    tickers: int = 0
    snapshots: int = 0
    tops: int = 0
    wrong: int = 0
    levels: int = 0
    levels_wrong: int = 0


@dataclass(slots=True)
class FileIndex:
    """One file. Receive times are in nanoseconds, `size` is in bytes, compressed.

    `gaps` are those that were recorded while this file was written. `is_complete`: it was ended, not cut off.
    """

    venue: str
    lines: int = 0
    size: int = 0
    first_received_ns: int = 0
    last_received_ns: int = 0
    is_complete: bool = False
    unreadable: int = 0
    losses: int = 0
    symbols: dict[str, SymbolIndex] = field(default_factory=dict)
    gaps: list[dict[str, object]] = field(default_factory=list)
    version: str = __version__

    def of(self, symbol: str) -> SymbolIndex:
        """Return what is known of a symbol."""
        return self.symbols.setdefault(symbol, SymbolIndex())

    def note_line(self, received_ns: int) -> None:
        """Count a line."""
        self.lines += 1
        self.first_received_ns = self.first_received_ns or received_ns
        self.last_received_ns = received_ns

    def note_diff(self, diff: Diff) -> None:
        """Count a diff."""
        symbol = self.of(diff.symbol)
        if not symbol.diffs:
            symbol.first_update_id, symbol.first_event_time = diff.first_update_id, diff.event_time
        symbol.last_update_id, symbol.last_event_time = diff.update_id, diff.event_time
        symbol.diffs += 1

    def note_gap(self, gap: Gap) -> None:
        """Keep a gap."""
        self.gaps.append(asdict(gap))

    def note_audit(self, audit: Audit) -> None:
        """Add what was compared in a minute."""
        symbol = self.of(audit.symbol)
        symbol.tops += audit.tops
        symbol.wrong += audit.wrong
        symbol.levels += audit.levels
        symbol.levels_wrong += audit.levels_wrong

    def to_json(self) -> bytes:
        """Return it as written."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
