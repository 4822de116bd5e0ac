"""Which update ids of a gap nobody has brought. Pure.

A gap is one crawler's claim: another one may have received what it missed. Whether it is open follows from the stored
rows alone, so replicas, restarts and redelivery come to the same answer.
"""

from collections.abc import Iterable

CLOCK_SLACK = 1_000_000
"""Microseconds that an exchange's clock may go back without its times being taken as they are."""


def begins_anew(update_id: int, event_time: int, *, last_id: int, last_time: int) -> bool:
    """Return whether a book's ids are others than those of a last one before: in one numbering none later is smaller.

    Times are in microseconds.
    """
    return update_id <= last_id and event_time > last_time + CLOCK_SLACK


def claimed(from_update_id: int, to_update_id: int) -> int:
    """Return how many ids a gap claims; one that runs backwards, because ids began anew, counts as one."""
    return max(1, to_update_id - from_update_id + 1)


def uncovered(from_update_id: int, to_update_id: int, ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many ids of a gap lie in none of the ranges, each its first and its last id, in any order.

    A gap that runs backwards is never filled: between two numberings nobody knows what is missing.
    """
    if to_update_id < from_update_id:
        return claimed(from_update_id, to_update_id)
    missing, reached = 0, from_update_id - 1
    for first, last in sorted(ranges):
        if first > last or last <= reached or first > to_update_id:
            continue
        missing += max(0, first - reached - 1)
        reached = last
    return missing + max(0, to_update_id - reached)
