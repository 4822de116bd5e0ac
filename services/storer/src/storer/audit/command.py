"""`storer audit`: its options, its way to the store, what it prints and the code that it ends with."""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson

from fairprice.coverage import MARKS, MINUTE, Verdict
from fairprice.errors import StartupError, StoreUnavailable
from fairprice.runtime import lifecycle
from storer.audit import report
from storer.audit.account import Account
from storer.audit.examine import examine, keys
from storer.audit.grid import grid
from storer.stores.origin import EXCHANGE
from storer.stores.port import NEVER, Key, Reader

SETTLE = 30 * 1_000_000
"""Microseconds that rows may take from the exchange into the store; what is newer is not judged yet."""

_TOO_YOUNG = (
    f"all that is stored is younger than {SETTLE // 1_000_000} s, in which rows may still be on their way; "
    "ask again in a minute"
)
_UNITS = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}

DESCRIPTION = (
    "Asks the store of FAIRPRICE_STORE_URL alone, and proves that every update id from the first stored row on lies in "
    "a row or in a recorded gap, that no row contradicts another one, and that sampled books agree with their prices. "
    "Ends with 0: nothing is wrong; 1: a hole that no gap tells, a row that is there twice or contradicts, or another "
    "suspect hour; with --strict also a recorded hole, and an hour that is not verified; 2: it could not be done."
)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where to print: a function that prints a line, columns, and whether colours are wanted."""

    write: Callable[[str], None]
    width: int
    colour: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--since", type=minutes, default=60, metavar="TIME", help="30m, 1h (as without), 7d, or all")
    parser.add_argument(
        "--symbol",
        nargs="+",
        action="extend",
        default=[],
        metavar="SYMBOL",
        help="BTCUSDT, or VENUE:BTCUSDT; as without: all",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for programs")
    parser.add_argument("--strict", action="store_true", help="end with 1 unless every hour is verified")


def minutes(text: str) -> int | None:
    """Return the minutes of a text like 30m, 1h, 7d, 2w; None for all."""
    if text == "all":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError("write 30m, 1h, 7d, 2w or all")
    return int(match[1]) * _UNITS[match[2]]


async def audit(
    reader: Reader, options: argparse.Namespace, now: int, terminal: Terminal, *, origin: str | None = None
) -> int:
    """Examine what the options ask for, print what was found and return the exit code.

    `now` is microseconds since the epoch. `origin` is what the rows come from, if that is known. Raises `StartupError`.
    """
    start, stop = period(options.since, now)
    runs_begin_anew = origin not in {None, EXCHANGE}
    accounts: dict[Key, Account] = {}
    try:
        for key in await chosen(reader, options, start, stop):
            accounts[key] = await examine(reader, key, start, stop, runs_begin_anew=runs_begin_anew)
            if not options.json:
                for line in report.lines(key, accounts[key], colour=terminal.colour):
                    terminal.write(line)
    except StoreUnavailable as error:
        raise StartupError(str(error)) from error
    exit_code = _exit_code(accounts.values(), strict=options.strict)
    if options.json:
        symbols = [report.as_json(key, account, stop) for key, account in accounts.items()]
        found = {"start": start, "stop": stop, "strict": options.strict, "exit_code": exit_code, "symbols": symbols}
        terminal.write(orjson.dumps(found).decode())
    else:
        for line in _conclusion(accounts, terminal):
            terminal.write(line)
    return exit_code


def period(since: int | None, now: int) -> tuple[int, int]:
    """Return begin and end of the last so many minutes, of all time for None; all in microseconds."""
    stop = now - SETTLE
    start = 0 if since is None else now - since * MINUTE
    return start - start % MINUTE, stop


async def chosen(reader: Reader, options: argparse.Namespace, start: int, stop: int) -> list[Key]:
    """Return what `symbol` and `since` ask for; raises `StartupError` where that is nothing, or not there."""
    found = await keys(reader, start, stop)
    when = "" if options.since is None else " in that time; --since 7d or --since all looks further back"
    if not found:
        raise StartupError(_TOO_YOUNG if await keys(reader, stop, NEVER) else f"nothing is stored{when}")
    return named(found, options.symbol, when) if options.symbol else found


def named(found: Sequence[Key], names: Iterable[str], when: str = "") -> list[Key]:
    """Return the symbols of these names, as people write them; raises `StartupError` where one is not there."""
    chosen: list[Key] = []
    for name in names:
        venue, _, symbol = name.rpartition(":")
        symbol = re.sub("[/-]", "", symbol).upper()
        matching = [key for key in found if key[1] == symbol and venue in {"", key[0]}]
        if not matching:
            known = ", ".join(":".join(key) for key in found[:20])
            raise StartupError(f"nothing is stored of {name}{when}; there is {known}")
        chosen += matching
    return list(dict.fromkeys(chosen))


def _exit_code(accounts: Iterable[Account], *, strict: bool) -> int:
    is_good = all(account.is_verified if strict else not account.is_wrong for account in accounts)
    return lifecycle.EXIT_OK if is_good else lifecycle.EXIT_INCOMPLETE


def _conclusion(accounts: dict[Key, Account], terminal: Terminal) -> Iterable[str]:
    yield ""
    yield from grid(
        {key: account.hours for key, account in accounts.items()}, width=terminal.width, colour=terminal.colour
    )
    verdicts = [hour.verdict for account in accounts.values() for hour in account.hours]
    counts = ", ".join(f"{verdicts.count(each)} {MARKS[each][1]}" for each in Verdict if each in verdicts)
    yield f"Hours: {counts or 'none'}."
