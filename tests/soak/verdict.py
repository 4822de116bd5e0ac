"""What a soak has seen, as a table, and whether it was good. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from fairprice.coverage import Verdict
from storer.audit.account import Account, Kind

LEAST_BLOWS = 3
"""How often each kind has to have happened at least."""

DEFECTS = tuple(kind for kind in Kind if kind not in {Kind.RECORDED_HOLE, Kind.WRONG_TOPS})
"""What no blow excuses; tops are wrong where a ticker was made wrong on purpose, and their books are not published."""

OF_THE_PAIR = "request_during_wait"
"""A breach that two crawlers cannot avoid: to wait was told to one of them, and the address is that of both."""


Samples = list[tuple[float, float]]
"""Seconds since the begin, and what was measured then."""


@dataclass
class Seen:
    """What was counted while it ran, of these kinds of blows; times in seconds, memory in MB by name and life."""

    kinds: Sequence[str]
    books: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)
    gaps: int = 0
    spells: list[float] = field(default_factory=list)
    memory: dict[str, Samples] = field(default_factory=dict)
    depths: dict[str, Samples] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    breaches: Mapping[str, int] = field(default_factory=dict)
    resyncs: int = 0
    not_current: list[str] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)

    def note(self, time: float, memory: Mapping[str, float], depths: Mapping[str, int]) -> None:
        """Note what was measured at a time."""
        for series, values in ((self.memory, memory), (self.depths, depths)):
            for name, value in values.items():
                series.setdefault(name, []).append((time, value))


def slope(samples: Samples) -> float:
    """Return the slope of the second half by least squares, in the samples' unit an hour."""
    middle = (samples[0][0] + samples[-1][0]) / 2 if samples else 0.0
    late = [each for each in samples if each[0] >= middle]
    if len(late) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(late) for values in zip(*late, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in late)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in late) / spread


def failures(seen: Seen) -> list[str]:
    """Return what is wrong, in words; nothing where all is well."""
    found = [f"{len(seen.wrong)} books are wrong: {seen.wrong[:3]}"] if seen.wrong else []
    if seen.compared < seen.books:
        found.append(f"only {seen.compared} of {seen.books} books were compared with the truth")
    if not seen.books:
        found.append("no book was published")
    found += [f"{count} breaches of the limit of {limit}" for limit, count in _breaches(seen).items()]
    rare = [kind for kind in seen.kinds if seen.happened[kind] < LEAST_BLOWS]
    found += [f"{kind} happened {seen.happened[kind]} times only" for kind in rare]
    found += [f"{symbol} is not current at the end" for symbol in seen.not_current]
    for symbol, account in seen.accounts.items():
        found += [
            f"{symbol}: {account.counts[kind]} x {kind}: {_first(account, kind)}"
            for kind in DEFECTS
            if account.counts[kind]
        ]
    return found


def _first(account: Account, kind: Kind) -> str:
    """Say where the first finding of a kind is, as far as it was kept."""
    found = next((finding for finding in account.findings if finding.kind is kind), None)
    if found is None:
        return "not among the findings that are kept"
    ids = f"ids {found.from_update_id} to {found.to_update_id}"
    return f"{ids} at {found.from_time} to {found.to_time} us {found.detail}".rstrip()


def so_far(seen: Seen) -> str:
    """Return in a line how it goes."""
    compared = f"{len(seen.wrong)} wrong, {seen.books - seen.compared} not compared"
    waiting = sum(samples[-1][1] for samples in seen.depths.values())
    return f"{seen.books:,} books, {compared}; out of sync {len(seen.spells)} times; {waiting:.0f} messages wait"


def table(seen: Seen) -> Iterator[str]:
    """Yield the verdict's lines."""
    spells = sorted(seen.spells)
    rows = sum(account.rows for account in seen.accounts.values())
    filled = sum(account.filled_gaps for account in seen.accounts.values())
    yield f"books published            {seen.books:,}"
    yield f"compared with the truth    {seen.compared:,}, wrong {len(seen.wrong)}"
    yield f"rows stored                {rows:,}"
    holes = sum(account.counts[Kind.UNRECORDED_HOLE] for account in seen.accounts.values())
    yield f"holes that no gap tells    {holes}"
    yield f"gaps claimed               {seen.gaps}, of the stored ones {filled} filled by another crawler"
    yield f"gaps open                  {sum(account.open_gaps for account in seen.accounts.values())}"
    yield f"breaches of limits         {sum(_breaches(seen).values())}"
    yield f"synchronisations           {seen.resyncs}"
    if spells:
        times = f"{median(spells):.1f} s in the median, {spells[-1]:.1f} s at most"
        yield f"out of sync                {len(spells)} times, {times}"
    for name, samples in _longest_lives(seen.memory).items():
        minutes = (samples[-1][0] - samples[0][0]) / 60
        growth = f"{_thirds(samples)} MB in {minutes:.0f} min, {slope(samples):+.1f} MB an hour in the second half"
        yield f"memory  {name:19}{growth}"
    for name, samples in seen.depths.items():
        yield f"queue   {name:19}{_thirds(samples)} messages, at most {max(depth for _, depth in samples):.0f}"
    hours = Counter(hour.verdict for account in seen.accounts.values() for hour in account.hours)
    yield f"hours                      {', '.join(f'{hours[each]} {each.value}' for each in Verdict if hours[each])}"
    yield "blows                      " + ", ".join(f"{kind} {count}" for kind, count in sorted(seen.happened.items()))


def _longest_lives(memory: Mapping[str, Samples]) -> dict[str, Samples]:
    """Return of each process that was started again, its number behind its name, the samples of its longest life."""
    longest: dict[str, Samples] = {}
    for key, samples in memory.items():
        name = key.rstrip("0123456789").rstrip()
        longest[name] = max(longest.get(name, samples), samples, key=len)
    return longest


def _thirds(samples: Samples) -> str:
    """Return the medians of the first and of the last third."""
    size = max(1, len(samples) // 3)
    first, last = (median(value for _, value in part) for part in (samples[:size], samples[-size:]))
    return f"{first:.0f} -> {last:.0f}"


def _breaches(seen: Seen) -> dict[str, int]:
    return {limit: count for limit, count in seen.breaches.items() if count and limit != OF_THE_PAIR}
