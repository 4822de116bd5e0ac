"""What an audit found, in words and as JSON. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fairprice.coverage import HOUR, MARKS, Verdict, worst
from storer.audit.account import Account, Claim, Finding, HourOf, Kind
from storer.audit.grid import paint
from storer.stores.port import Key

MEANINGS = {
    Kind.UNRECORDED_HOLE: "hole that no gap tells",
    Kind.RECORDED_HOLE: "hole that a gap tells",
    Kind.DOUBLED: "row that is there twice",
    Kind.CONTRADICTING: "row that contradicts",
    Kind.DISAGREEING: "sampled book that disagrees with its price",
    Kind.WRONG_TOPS: "minute in which a top differed from the exchange's ticker",
    Kind.WRONG_LEVELS: "minute in which a level differed from a fresh snapshot",
    Kind.WRONGLY_FILLED: "gap that the store calls filled and rows do not fill",
}

MOST_LINES = 20
"""Findings of a kind, and gaps, that are printed."""


def verdict_of(account: Account) -> Verdict | None:
    """Return the worst verdict of its hours; None where nothing is stored."""
    return worst(hour.verdict for hour in account.hours)


def lines(key: Key, account: Account, *, colour: bool = False) -> Iterator[str]:
    """Yield what a person wants to know of a symbol."""
    verdict = verdict_of(account)
    word = paint(verdict, MARKS[verdict][1], colour=colour) if verdict else "nothing to judge"
    yield f"{' '.join(key)}: {word}"
    yield f"  {_extent(account)}"
    yield f"  {account.tops:,} tops and {account.levels:,} levels compared, {account.books:,} sampled books"
    yield from _remarks(account)
    for kind in Kind:
        if kind is not Kind.RECORDED_HOLE:
            yield from _findings(account, kind)
    yield from _gaps(account)


def as_json(key: Key, account: Account, stop: int) -> dict[str, Any]:
    """Return the account of a symbol for programs; times in microseconds since the epoch."""
    venue, symbol = key
    verdict = verdict_of(account)
    return {
        "venue": venue,
        "symbol": symbol,
        "verdict": verdict and verdict.value,
        "rows": account.rows,
        "first_time": account.first_time,
        "last_time": account.last_time,
        "first_update_id": account.first_update_id,
        "last_update_id": account.last_update_id,
        "runs": account.runs,
        "overlapping_rows": account.overlapping,
        "disordered_rows": account.disordered,
        "tops": account.tops,
        "levels": account.levels,
        "sampled_books": account.books,
        "sampled_books_without_price": account.unpriced,
        "open_gaps": account.open_gaps,
        "filled_gaps": account.filled_gaps,
        "findings": {kind.value: account.counts[kind] for kind in Kind},
        "particulars": [_finding_as_json(each) for each in account.findings],
        "gaps": [_gap_as_json(each) for each in account.gaps],
        "hours": [_hour_as_json(each, stop) for each in account.hours],
    }


def _extent(account: Account) -> str:
    if account.first_time is None or account.last_time is None:
        return "no prices"
    times = f"{_moment(account.first_time)} to {_moment(account.last_time)}"
    return f"{account.rows:,} prices, {times}, ids {account.first_update_id} to {account.last_update_id}"


def _remarks(account: Account) -> Iterator[str]:
    if account.runs > 1:
        yield f"  {account.runs} runs of the market, each with ids of its own"
    if account.overlapping:
        yield f"  {account.overlapping:,} rows overlap with the one before, as streams that cut otherwise make them"
    if account.disordered:
        yield f"  {account.disordered:,} rows in another order than their ids: the exchange's clock went back"
    if account.unpriced:
        yield f"  {account.unpriced:,} sampled books have no price of the same time to compare"


def _findings(account: Account, kind: Kind) -> Iterator[str]:
    if count := account.counts[kind]:
        yield f"  {count:,} x {MEANINGS[kind]}"
        shown = [each for each in account.findings if each.kind is kind][:MOST_LINES]
        for each in shown:
            yield f"    {_moment(each.from_time)}  {_ids(each.from_update_id, each.to_update_id)}{_what(each)}"
        if count > len(shown):
            yield f"    and {count - len(shown):,} more"


def _what(finding: Finding) -> str:
    missing = f", {finding.count:,} missing" if finding.kind is Kind.UNRECORDED_HOLE else ""
    wrong = f", {finding.count:,} wrong" if finding.kind in {Kind.WRONG_TOPS, Kind.WRONG_LEVELS} else ""
    detail = f": {finding.detail}" if finding.detail else ""
    return missing + wrong + detail


def _gaps(account: Account) -> Iterator[str]:
    waiting = sum(each.open_ids is None for each in account.gaps)
    if account.open_gaps or account.filled_gaps or waiting:
        still = f", {waiting} that may still be filled" if waiting else ""
        yield f"  gaps: {account.open_gaps:,} open, {account.filled_gaps:,} filled by other rows{still}"
    shown = [each for each in account.gaps if each.open_ids]
    for each in shown[:MOST_LINES]:
        yield f"    {_moment(each.from_time)}  {_ids(each.from_update_id, each.to_update_id)}: {_told(each)}"
    if account.open_gaps > MOST_LINES:
        yield f"    and {account.open_gaps - MOST_LINES:,} more"


def _told(claim: Claim) -> str:
    seconds = (claim.to_time - claim.from_time) / 1e6
    return f"{claim.reason}, {claim.open_ids or 0:,} missing, {seconds:,.1f} s"


def _ids(first: int | None, last: int | None) -> str:
    return f"id {first}" if first == last else f"ids {first} to {last}"


def _moment(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "from_time": finding.from_time,
        "to_time": finding.to_time,
        "from_update_id": finding.from_update_id,
        "to_update_id": finding.to_update_id,
        "count": finding.count,
        "detail": finding.detail,
    }


def _gap_as_json(claim: Claim) -> dict[str, Any]:
    return {
        "from_time": claim.from_time,
        "to_time": claim.to_time,
        "from_update_id": claim.from_update_id,
        "to_update_id": claim.to_update_id,
        "reason": claim.reason,
        "open_ids": claim.open_ids,
    }


def _hour_as_json(hour: HourOf, stop: int) -> dict[str, Any]:
    return {
        "time": hour.time,
        "is_over": hour.time + HOUR <= stop,
        "verdict": hour.verdict.value,
        "minutes_with_books": hour.facts.minutes.bit_count(),
        "minutes_compared": (hour.facts.minutes & hour.facts.compared).bit_count(),
        "missing_ids": hour.facts.missing_ids,
        "unrecorded_ids": hour.facts.unrecorded_ids,
    }
