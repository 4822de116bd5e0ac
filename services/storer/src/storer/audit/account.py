"""What an audit found of one symbol: pure data, and what follows from it."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from fairprice.coverage import Facts, Verdict

MOST_FINDINGS = 1000
"""Findings of a kind, and gaps, that are kept with their particulars; the others are counted."""


class Kind(StrEnum):
    """What can be wrong with rows; `report.MEANINGS` says what each means."""

    UNRECORDED_HOLE = "unrecorded_hole"
    RECORDED_HOLE = "recorded_hole"
    DOUBLED = "doubled_row"
    CONTRADICTING = "contradicting_row"
    DISAGREEING = "disagreeing_book"
    WRONG_TOPS = "wrong_tops"
    WRONG_LEVELS = "wrong_levels"
    WRONGLY_FILLED = "wrongly_filled_gap"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where; `count` is how many ids are missing, or how many comparisons were wrong."""

    kind: Kind
    from_time: int
    to_time: int
    from_update_id: int | None
    to_update_id: int | None
    count: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A stored gap and how many of its ids no row covers; None where rows that may fill it are still to come."""

    from_time: int
    to_time: int
    from_update_id: int
    to_update_id: int
    reason: str
    open_ids: int | None


@dataclass(frozen=True, slots=True)
class HourOf:
    """The verdict on an hour, which begins at `time`, and what it rests on."""

    time: int
    verdict: Verdict
    facts: Facts


@dataclass(slots=True)
class Account:
    """What was found of one symbol.

    `overlapping` rows begin among ids that an earlier row has and end behind them, as two stream servers that cut diffs
    at different ids make them, or end amid the ids of a row of shortly before; `disordered` ones
    have smaller ids than a row with an earlier time, and fill a hole: the exchange's clock went back. Neither is wrong.
    `unpriced` are sampled books without a price of the same time.
    """

    rows: int = 0
    first_time: int | None = None
    last_time: int | None = None
    first_update_id: int | None = None
    last_update_id: int | None = None
    runs: int = 1
    overlapping: int = 0
    disordered: int = 0
    books: int = 0
    unpriced: int = 0
    tops: int = 0
    levels: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    open_gaps: int = 0
    filled_gaps: int = 0
    gaps: list[Claim] = field(default_factory=list)
    hours: list[HourOf] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while there are not too many of its kind."""
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= MOST_FINDINGS:
            self.findings.append(finding)

    def add_gap(self, claim: Claim) -> None:
        """Count a gap, and keep it while there are not too many; one that may still be filled counts as neither."""
        self.open_gaps += bool(claim.open_ids)
        self.filled_gaps += claim.open_ids == 0
        if len(self.gaps) < MOST_FINDINGS:
            self.gaps.append(claim)

    @property
    def is_wrong(self) -> bool:
        """Whether anything is worse than a hole that was recorded."""
        return any(self.counts[kind] for kind in Kind if kind is not Kind.RECORDED_HOLE)

    @property
    def is_verified(self) -> bool:
        """Whether every hour is verified."""
        return not self.is_wrong and bool(self.hours) and {hour.verdict for hour in self.hours} == {Verdict.VERIFIED}
