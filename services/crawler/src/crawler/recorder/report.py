"""What `crawler verify` prints."""

from collections.abc import Sequence

import orjson

from crawler.recorder.tally import Tally
from crawler.recorder.verification import Verification

HEAD = (
    "symbol", "diffs", "books", "ids missing", "gaps", "tops", "wrong", "levels", "wrong",
    "spread bps: least", "median", "mean", "95 %", "greatest",
)  # fmt: skip


def as_json(verification: Verification) -> str:
    """Return one JSON object."""
    problems = verification.problems()
    return orjson.dumps(
        {
            "ok": not problems,
            "venue": verification.venue.name,
            "lines": verification.lines,
            "unreadable": verification.unreadable,
            "symbols": {symbol: tally.to_json() for symbol, tally in verification.tallies.items()},
            "problems": problems,
        }
    ).decode()


def as_table(verification: Verification, seconds: float) -> str:
    """Return a table of the symbols, and what is wrong, in words."""
    rows = [HEAD, *(_row(symbol, tally) for symbol, tally in verification.tallies.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    lines.append(f"{verification.lines} lines of {verification.venue.name} in {seconds:.1f} s")
    lines += [f"unreadable: {unread.path}, line {unread.line}: {unread.problem}" for unread in verification.unread]
    problems = verification.problems()
    lines += [f"wrong: {problem}" for problem in problems] or ["All ids are there, nothing is wrong."]
    return "\n".join(lines)


def _row(symbol: str, tally: Tally) -> tuple[str, ...]:
    counts = (tally.diffs, tally.books, tally.missing, tally.gaps.total())
    compared = (tally.tops, tally.tops_wrong, tally.levels, tally.levels_wrong)
    spread = tally.spread_bps()
    names = ("least", "median", "mean", "p95", "greatest")
    spreads = [f"{spread[name]:.4g}" if spread else "-" for name in names]
    return (symbol, *map(str, counts), *map(str, compared), *spreads)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    aligned = [value.rjust(width) for value, width in zip(others, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *aligned])
