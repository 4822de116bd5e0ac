"""The order book against the most obvious one there is: a dict by exact price, sorted anew whenever somebody asks."""

from fractions import Fraction
from functools import lru_cache
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import each_row

from crawler.book.order_book import MIN_WINDOW, WINDOW_SHARE, BookSide, OrderBook

ZEROS = ("0", "0.0", "0.00000000", "0." + "0" * 40)


@lru_cache(maxsize=100_000)
def exact(number):
    """The number in units of 1e-40, a whole number: as exact as a fraction and quicker to sort."""
    return int(Fraction(number) * 10**40)


class NaiveBook:
    """Every level by its exact price, as received last."""

    def __init__(self, bids, asks):
        self.bids, self.asks = {}, {}
        self.apply(bids, asks)

    def apply(self, bids, asks):
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, quantity in changes:
                side.pop(exact(price), None)
                if exact(quantity) > 0:
                    side[exact(price)] = [price, quantity]

    def best(self, levels):
        return (
            [self.bids[price] for price in sorted(self.bids, reverse=True)[:levels]],
            [self.asks[price] for price in sorted(self.asks)[:levels]],
        )


def text(ticks, decimals, spelling="usual"):
    """A number of ticks with so many decimals, in one of the spellings that mean the same."""
    whole, fraction = divmod(ticks, 10**decimals)
    digits = f"{fraction:0{decimals}d}" if decimals else ""
    usual = f"{whole}.{digits}" if digits else f"{whole}"
    return {
        "usual": usual,
        "longer": f"{usual}000" if digits else f"{usual}.000",
        "shorter": (f"{whole}.{digits}".rstrip("0").rstrip(".")),
        "padded": f"00{usual}",
    }[spelling]


SPELLINGS = ("usual", "usual", "usual", "longer", "shorter", "padded")


def sides(random, count, *, span, decimals, middle, spellings):
    """A snapshot of `count` levels a side, best first: bids from `middle` downwards, asks above it."""
    bids = sorted(random.sample(range(max(1, middle - span), middle + 1), count), reverse=True)
    asks = sorted(random.sample(range(middle + 1, middle + span + 1), count))
    return tuple([[text(each, decimals, random.choice(spellings)), "1.5"] for each in side] for side in (bids, asks))


def changes(random, book, side, *, span, decimals, middle, spellings):
    """Some levels of a diff: new ones, other quantities, removals near the top, and of levels that are not there."""
    known = sorted(getattr(book, side), reverse=side == "bids")
    rows = []
    for _ in range(random.randrange(12)):
        quantity = random.choice(ZEROS) if random.random() < 0.45 else text(random.randrange(1, 10**6), 5)
        if known and random.random() < 0.6:
            ticks = known[int(len(known) * random.random() ** 3)] // 10 ** (40 - decimals)
        else:
            low, high = (max(1, middle - span), middle) if side == "bids" else (middle + 1, middle + span)
            ticks = random.randint(low, high)
        rows.append([text(ticks, decimals, random.choice(spellings)), quantity])
    return rows


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32),
    depth=st.sampled_from((0, 1, 10, 60, 300, 1500, 5000)),
    levels=st.integers(1, 50),
    decimals=st.integers(0, 8),
    middle=st.sampled_from((60, 99, 100, 999, 1000, 1003, 99_999, 100_000, 5_000_001)),
    spellings=st.sampled_from((("usual",), SPELLINGS)),
)
@example(seed=1, depth=5000, levels=50, decimals=0, middle=100_000, spellings=SPELLINGS)
@example(seed=2, depth=5000, levels=20, decimals=2, middle=99_999, spellings=("usual",))
def test_the_best_levels_are_those_of_a_naive_book(*, seed, depth, levels, decimals, middle, spellings):
    random = Random(seed)
    middle = max(middle, depth)
    style = {"span": max(depth + depth // 5, 50), "decimals": decimals, "middle": middle, "spellings": spellings}
    bids, asks = sides(random, min(depth, middle), **style)
    book, naive = OrderBook(bids, asks, levels=levels), NaiveBook(bids, asks)
    assert book.best() == naive.best(levels)
    for step in range(12 if depth > 1000 else 40):
        diff = [changes(random, naive, side, **style) for side in ("bids", "asks")]
        if step % 10 == 9:
            diff[step // 10 % 2] += [[row[0], "0.0"] for row in naive.best(levels + 3)[step // 10 % 2]]
        book.apply(*diff)
        naive.apply(*diff)
        assert book.best() == naive.best(levels)
    assert (len(book.bids), len(book.asks)) == (len(naive.bids), len(naive.asks))


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 1200), st.sampled_from(SPELLINGS), st.sampled_from((*ZEROS, "1", "2.50"))), max_size=60
    ),
    decimals=st.integers(0, 3),
    best_last=st.booleans(),
    levels=st.integers(1, 5),
    cuts=st.integers(1, 7),
)
def test_a_side_that_starts_empty_and_meets_every_width_is_that_of_a_naive_book(
    rows, decimals, best_last, levels, cuts
):
    side, naive = BookSide([], best_last=best_last, levels=levels), NaiveBook([], [])
    levels_sent = [[text(ticks, decimals, spelling), quantity] for ticks, spelling, quantity in rows]
    for start in range(0, len(rows), cuts):
        diff = levels_sent[start : start + cuts]
        side.apply(diff)
        naive.apply(diff, diff)
        assert side.best() == naive.best(levels)[0 if best_last else 1]


@pytest.mark.parametrize("zero", ZEROS)
def test_every_spelling_of_zero_removes_the_best_level_an_absent_one_and_one_of_a_snapshot(zero):
    book = OrderBook([["100.0", "1"], ["99.0", "2"], ["98.5", zero]], [["101.0", zero], ["102.0", "3"]], levels=5)
    assert book.best() == ([["100.0", "1"], ["99.0", "2"]], [["102.0", "3"]])
    book.apply([["100.0", zero], ["55.0", zero]], [["999999.0", zero]])
    assert book.best() == ([["99.0", "2"]], [["102.0", "3"]])


def test_the_smallest_quantity_is_not_zero():
    smallest = "0." + "0" * 39 + "1"
    assert OrderBook([["1.0", smallest]], [], levels=1).best() == ([["1.0", smallest]], [])


def test_a_book_is_published_as_it_was_received():
    """No price is rewritten on the way: a level is the very text of the last diff that touched it."""
    book = OrderBook([["100.00", "1.000"]], [["0100.50", "7"]], levels=3)
    assert book.best() == ([["100.00", "1.000"]], [["0100.50", "7"]])
    book.apply([["100", "2"]], [["100.500000", "07.0"]])
    assert book.best() == ([["100", "2"]], [["100.500000", "07.0"]])


@pytest.mark.parametrize("best_last", [True, False])
def test_prices_that_cross_a_power_of_ten_up_and_down_stay_in_order(best_last):
    def price(ticks):
        return text(ticks, 2)

    side, naive = BookSide([], best_last=best_last, levels=5), NaiveBook([], [])
    walk = [*range(9950, 10050), *range(10100, 980, -23), *range(980, 1020), *range(1020, 10_300, 61)]
    for position, ticks in enumerate(walk):
        rows = [[price(ticks), "1"], [price(walk[max(0, position - 30)]), "0"], [price(ticks + 3), "2"]]
        side.apply(rows)
        naive.apply(rows, rows)
        assert side.best() == naive.best(5)[0 if best_last else 1]


def test_every_level_can_be_told():
    rows = [[text(ticks, 1), "1"] for ticks in range(1, 400)]
    side = BookSide(rows, best_last=True, levels=20)
    assert sorted(side) == sorted(rows)
    assert len(side) == 399


def test_another_book_adds_what_lies_beyond_the_reach_and_nothing_else():
    fresh = OrderBook([["100.0", "1"], ["99.0", "1"]], [["101.0", "1"], ["102.0", "1"]], levels=9)
    old = OrderBook(
        [["100.5", "9"], ["99.0", "9"], ["98.9", "9"], ["9.0", "9"]],
        [["100.7", "9"], ["102.0", "9"], ["102.1", "9"], ["1000.0", "9"]],
        levels=9,
    )
    fresh.extend(old, "99.0", "102.0")
    assert fresh.best() == (
        [["100.0", "1"], ["99.0", "1"], ["98.9", "9"], ["9.0", "9"]],
        [["101.0", "1"], ["102.0", "1"], ["102.1", "9"], ["1000.0", "9"]],
    )


def test_nothing_is_added_where_the_reach_has_no_bound():
    fresh = OrderBook([["100.0", "1"]], [["101.0", "1"]], levels=9)
    fresh.extend(OrderBook([["98.0", "9"]], [["103.0", "9"]], levels=9), None, None)
    assert fresh.best() == ([["100.0", "1"]], [["101.0", "1"]])


class CountedSide(BookSide):
    """Counts the keys that are looked at whenever the window is filled from all levels."""

    looked_at = 0
    fills = 0

    def _refill(self):
        self.looked_at += len(self._levels)
        self.fills += 1
        super()._refill()


def rows_of(depth, best_last):
    ticks = range(10_000_000, 10_000_000 + depth)
    return [[text(each, 2), "1.0"] for each in (reversed(ticks) if best_last else ticks)]


@pytest.mark.slow
@pytest.mark.parametrize("best_last", [True, False])
def test_the_cost_of_removing_the_best_does_not_grow_with_depth(best_last):
    cost = {}
    for depth in (10_000, 50_000):
        side = CountedSide(rows_of(depth, best_last), best_last=best_last, levels=20)
        removals = depth // 2
        side.looked_at = side.fills = 0
        for _ in range(removals):
            side.apply([[side.best()[0][0], "0"]])
        assert side.fills, "the window was never filled again: this test shows nothing"
        cost[depth] = side.looked_at / removals
    assert cost[50_000] <= cost[10_000] < 2 * WINDOW_SHARE


@each_row("best_last", [True, False])
@each_row("comes_back", [True, False])
@each_row("position", [MIN_WINDOW - 2, MIN_WINDOW - 1, MIN_WINDOW])
def test_a_level_at_the_edge_of_what_is_sorted_comes_and_goes_like_any_other(best_last, comes_back, position):
    rows = rows_of(200, best_last)
    side, naive = BookSide(rows, best_last=best_last, levels=20), NaiveBook(rows, rows)
    edge = rows[position][0]
    changes = [[edge, "0"], *[[edge, "2"]] * comes_back, *([price, "0"] for price, _ in rows[: MIN_WINDOW - 10])]
    for change in changes:
        side.apply([change])
        naive.apply([change], [change])
        assert side.best() == naive.best(20)[0 if best_last else 1]


class CountedText(str):
    """A price that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __lt__(self, other):
        CountedText.comparisons += 1
        return super().__lt__(other)

    def __le__(self, other):
        CountedText.comparisons += 1
        return super().__le__(other)


@pytest.mark.slow
@pytest.mark.parametrize("best_last", [True, False])
def test_the_cost_of_a_change_near_the_top_hardly_grows_with_depth(best_last):
    """Fifty times as deep is a few more steps of a binary search."""
    cost = {}
    for depth in (1_000, 50_000):
        rows = [[CountedText(price), quantity] for price, quantity in rows_of(depth, best_last)]
        side = BookSide(rows, best_last=best_last, levels=20)
        top = [price for price, _ in side.best()]
        CountedText.comparisons = 0
        for number in range(1000):
            side.apply([[top[number % 20], "0"]])
            side.apply([[top[number % 20], "2"]])
        cost[depth] = CountedText.comparisons / 2000
    assert cost[50_000] <= cost[1_000] + 8
    assert cost[50_000] <= 20


@pytest.mark.parametrize("best_last", [True, False])
def test_inserting_without_end_keeps_the_window_short_and_right(best_last):
    """Better and better prices come in, so that the window has to be trimmed again and again."""
    side = CountedSide(rows_of(200, best_last), best_last=best_last, levels=20)
    longest = 0
    for number in range(2_000):
        ticks = 10_000_200 + number if best_last else 9_999_999 - number
        side.apply([[text(ticks, 2), "3"]])
        assert side.best()[0] == [text(ticks, 2), "3"]
        longest = max(longest, len(side._window))
    assert longest <= side._limit + 1 < 250
    assert side.looked_at < 10 * len(side), "trimming must not look at all levels"
    naive = NaiveBook(list(side), list(side))
    assert side.best() == naive.best(20)[0 if best_last else 1]
