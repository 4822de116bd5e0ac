"""The audit of one symbol: fed its stored rows in order of time, it gives an account. Pure, memory flat.

Its rows come from four measurements, each in order of time; at the same time a gap before a price, a price before a
book.
"""

from fairprice.coverage import MINUTE, Coverage
from storer.audit.account import Account, Claim, Finding, HourOf, Kind
from storer.audit.chain import HORIZON, Chain, PriceRow
from storer.audit.claims import SLACK, Claims
from storer.stores.port import Row

PRICE_FIELDS = ("first_update_id", "update_id", "bid", "ask", "spread")
GAP_FIELDS = ("from_update_id", "to_update_id", "duration_ms", "reason", "open_ids")
AUDIT_FIELDS = ("from_update_id", "to_update_id", "tops", "levels", "wrong", "levels_wrong")
BOOK_FIELDS = ("update_id", "bid_price_00", "ask_price_00")
"""What is read of each measurement, behind the time."""

_ROUNDING = 1e-15
"""Part of a price by which the spread of two nearest doubles may differ from the double nearest to the spread."""


class SymbolAudit:
    """Takes rows up to `stop` (microseconds); what is later may still be on its way.

    `runs_begin_anew`: the market is made up or recorded, and each run of it has ids of its own, which no gap tells.
    """

    def __init__(self, stop: int, *, runs_begin_anew: bool = False) -> None:
        self._stop = stop
        self._account = Account()
        self._claims = Claims(HORIZON + SLACK)
        self._coverage = Coverage()
        self._chain = Chain(self._account, self._claims, self._found, runs_begin_anew=runs_begin_anew)
        self._last: PriceRow | None = None

    def begin(self, row: Row) -> None:
        """Take the last price before the period."""
        self._chain.begin(PriceRow._make(row))

    def gap(self, row: Row) -> None:
        """Take a gap."""
        self._claims.add(row, self._chain.recent())

    def price(self, row: Row) -> None:
        """Take a price; one whose ids are no range is not part of the chain."""
        price = PriceRow._make(row)
        time, first, last, bid, ask, spread = price
        if first is None or last is None or first > last:
            self._found(Finding(Kind.CONTRADICTING, time, time, first, last, detail="its ids are no range"))
            return
        self._note(price)
        if bid is not None and ask is not None and spread is not None and abs(ask - bid - spread) > ask * _ROUNDING:
            detail = f"bid {bid:.15g}, ask {ask:.15g} and spread {spread:.15g} do not belong together"
            self._found(Finding(Kind.CONTRADICTING, time, time, first, last, detail=detail))
        self._chain.add(price)
        self._coverage.book(time)
        if self._claims:
            self._claims.fill(first, last)
            if time > self._claims.next_end:
                for claim, is_wrong in self._claims.pass_by(time):
                    self._settle(claim, is_wrong=is_wrong)

    def book(self, row: Row) -> None:
        """Take a sampled book; only a price of the same time and id can be compared with it."""
        time, update_id, bid, ask = row
        price = self._last
        self._account.books += 1
        if price is None or price.time != time or price.update_id != update_id:
            self._account.unpriced += 1
            return
        for side, in_book, in_price in (("bid", bid, price.bid), ("ask", ask, price.ask)):
            if in_price is not None and in_price != in_book:
                detail = f"best {side} {in_book} in the book, {in_price:.15g} in the price"
                ids = price.first_update_id, price.update_id
                self._found(Finding(Kind.DISAGREEING, time, time, *ids, detail=detail))

    def audit(self, row: Row) -> None:
        """Take what a crawler compared in the minute that begins at the row's time; an absent count is zero."""
        time, first, last, tops, levels, wrong, levels_wrong = row
        self._account.tops += round(tops or 0)
        self._account.levels += round(levels or 0)
        for kind, count in ((Kind.WRONG_TOPS, wrong), (Kind.WRONG_LEVELS, levels_wrong)):
            if count:
                self._found(Finding(kind, time, time + MINUTE, first, last, round(count)))
        self._coverage.audit(time, round(tops or 0), 0)

    def finish(self) -> Account:
        """Return the account."""
        self._chain.finish()
        self._tell_what_follows()
        for claim, is_wrong in self._claims.finish(self._stop):
            self._settle(claim, is_wrong=is_wrong)
        self._account.hours = [HourOf(*each) for each in self._coverage.verdicts()]
        return self._account

    def _note(self, price: PriceRow) -> None:
        account = self._account
        account.rows += 1
        if account.first_time is None:
            account.first_time, account.first_update_id = price.time, price.first_update_id
        account.last_time, account.last_update_id = price.time, price.update_id
        self._last = price

    def _settle(self, claim: Claim, *, is_wrong: bool) -> None:
        self._account.add_gap(claim)
        if is_wrong and claim.open_ids is not None:
            ids = claim.from_update_id, claim.to_update_id
            detail = "the store calls more of it filled than rows fill"
            times = claim.from_time, claim.to_time
            self._found(Finding(Kind.WRONGLY_FILLED, *times, *ids, claim.open_ids, detail))

    def _tell_what_follows(self) -> None:
        """Report the ids behind the last row that a gap tells, as a crawler does which ends out of sync."""
        last, reached = self._chain.last, self._chain.reached
        if last is None or reached is None:
            return
        if told := self._claims.last_told(reached, self._stop):
            missing, until = told
            for low, high in missing.ranges:
                self._found(Finding(Kind.RECORDED_HOLE, last.time, until, low, high, high - low + 1))
        if anew := self._claims.last_restart(self._stop):
            detail = "the exchange's ids began anew"
            self._found(Finding(Kind.RECORDED_HOLE, last.time, anew, reached + 1, None, detail=detail))

    def _found(self, finding: Finding) -> None:
        self._account.add(finding)
        if finding.kind in {Kind.UNRECORDED_HOLE, Kind.RECORDED_HOLE}:
            unrecorded = finding.count if finding.kind is Kind.UNRECORDED_HOLE else 0
            self._coverage.hole(finding.from_time, finding.to_time, finding.count, unrecorded)
        else:
            self._coverage.suspicion(finding.from_time)
