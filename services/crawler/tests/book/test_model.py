"""What two minutes of books say of the next seconds: by its definition, for made-up markets, and for late joiners."""

from fractions import Fraction
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from crawler.book.model import FEWEST, SPACING, WEIGHTS, MarketModel
from crawler.book.pairs import BLOCK, NO_MOVE, end_of, step_of

SECOND = 1_000_000
STEP = SECOND // 10
BEGIN = 1_723_161_000 * SECOND
"""A round time: the begin of a block."""
WARM_UP = 12 * BLOCK
SPANS = {"500ms": SECOND // 2, "1s": SECOND, "5s": 5 * SECOND, "10s": 10 * SECOND}


def models(books, model=None):
    """Return the model that goes with each book."""
    model = model or MarketModel()
    return [model.follow(*book) for book in books]


# ---- by its definition


def pairs_of(books, span, block):
    """Yield imbalance, move and block of each pair whose two ends lie in the twelve blocks before `block`."""
    first, last = (block - 12) * BLOCK, block * BLOCK
    inside = [book for book in books if first <= book[0] < last]
    seen = set()
    for time, mid, imbalance in inside:
        is_first = time // SPACING not in seen
        seen.add(time // SPACING)
        if mid is None or not is_first or time + span >= last:
            continue
        [*_, (_, outcome, _)] = [book for book in inside if book[0] <= time + span]
        if outcome is not None:
            yield Fraction(imbalance), Fraction(outcome - mid), (time + span) // BLOCK


def weight_of(block, outcome):
    return Fraction(WEIGHTS[block - 1 - outcome], 2**20)


def check(model, books, block):
    assert model.block == block * BLOCK
    for name, span in SPANS.items():
        pairs = list(pairs_of(books, span, block))
        assert getattr(model, f"observations_{name}") == len(pairs)
        if name != "10s":
            products = sum(weight_of(block, at) * imbalance * move for imbalance, move, at in pairs)
            squares = sum(weight_of(block, at) * imbalance**2 for imbalance, _, at in pairs)
            assert getattr(model, f"beta_{name}") == pytest.approx(float(products / (squares + 9)), rel=1e-9, abs=1e-12)
        if name in {"1s", "10s"}:
            check_width(getattr(model, f"half_width_{name}"), pairs, block, span)


SHARES = {SECOND: Fraction(905, 1000), 10 * SECOND: Fraction(95, 100)}
"""Of the moves that were seen: 9/10 (1 + 1/n), n half as many again as there are moves one behind the other."""


def check_width(width, pairs, block, span):
    if len(pairs) < FEWEST:
        assert width is None
        return
    total = sum(weight_of(block, at) for _, _, at in pairs)
    size, held = Fraction(), Fraction()
    for move, weight in sorted((abs(move), weight_of(block, at)) for _, move, at in pairs):
        if held < total * SHARES[span]:
            size, held = move, held + weight
    assert width == 0 if size == 0 else size < width <= size * Fraction(65, 64)


def wild(seed, begin=BEGIN, seconds=140):
    """Return books at odd times, some of them just as far apart as a horizon, some without a side."""
    random = Random(seed)
    time, books = begin, []
    while time < begin + seconds * SECOND:
        mid = random.choice([None, *(number / 10 for number in range(996, 1005))])
        books.append((time, mid, random.uniform(-1, 1)))
        time += random.choice(
            [*SPANS.values(), STEP, 3 * STEP, random.randrange(1, SPACING), random.randrange(1, SECOND)]
        )
    return books


seeds = st.integers(0, 2**32)


@given(seeds)
def test_a_model_is_what_its_definition_says(seed):
    books = wild(seed)
    found = models(books)
    assert [model is not None for model in found] == [time >= BEGIN + WARM_UP for time, *_ in books]
    check(found[-1], books, books[-1][0] // BLOCK)


def test_all_books_of_a_block_have_one_model_and_the_next_block_another():
    books = market(Random(1), 150)
    found = [model for model in models(books) if model]
    assert all((before is after) == (before.block == after.block) for before, after in pairwise(found))
    assert {model.block for model in found} == {BEGIN + WARM_UP + number * BLOCK for number in range(3)}


@given(st.just(0.0) | st.floats(1e-300, 1e300))
def test_a_size_lies_before_the_end_of_its_step_and_not_far(size):
    end = end_of(step_of(size))
    assert size < end <= size * 65 / 64 if size else end == 0
    assert step_of(size) >= NO_MOVE
    assert size == 0 or step_of(end) == step_of(size) + 1


# ---- made-up markets


def market(random, seconds, *, beta=0.0, spread=1.0, begin=BEGIN):
    """Return ten books a second; each moves the mid, a second later, by beta times its imbalance, beside noise."""
    lean = [random.uniform(-1, 1) for _ in range(10 * seconds)]
    mid, books = 60_000.0, []
    for number, imbalance in enumerate(lean):
        mid += random.gauss(0, spread) + (beta * lean[number - 10] if number >= 10 else 0)
        books.append((begin + number * STEP, mid, imbalance))
    return books


@each_row(("beta", "seed"), product([0.0, 3.0, -3.0], range(3)))
def test_a_known_beta_is_found_and_none_where_the_imbalance_means_nothing(beta, seed):
    model = models(market(Random(seed), 121, beta=beta))[-1]
    effective = sum(WEIGHTS) / 2**20 * 100 / 3  # squares of the imbalances, weighed
    error = 10**0.5 * (1 + beta * beta / 3) ** 0.5 / effective**0.5
    shrunk = effective / (effective + 9)
    assert model.beta_1s == pytest.approx(beta * shrunk, abs=4 * error)
    assert model.beta_500ms == pytest.approx(0, abs=4 * error)
    assert model.beta_5s == pytest.approx(beta * shrunk, abs=4 * 5**0.5 * error)
    if beta:
        assert model.beta_1s * beta > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_band_holds_what_it_says(seed):
    model = MarketModel()
    models(market(Random(seed), 900, beta=2.0), model)
    for pairs in (model.second, model.ten_seconds):
        outcomes = pairs.inside + pairs.outside
        assert outcomes > 7000
        assert 0.85 < pairs.inside / outcomes < 0.95
    assert model.half_second.inside + model.half_second.outside == 0


def test_a_band_is_judged_by_the_model_that_was_published_with_it():
    calm, model = market(Random(1), 130, spread=0.1), MarketModel()
    models(calm, model)
    mid, begin = calm[-1][1], BEGIN + 130 * SECOND
    model.follow(begin, mid, 0.0)
    inside, outside = model.second.inside, model.second.outside
    assert (outside, inside + outside) == (pytest.approx(10, abs=10), 90)
    jumps = [(begin + (number + 1) * STEP, mid + 50 * number, 0.0) for number in range(30)]
    models([*jumps, (begin + BLOCK, jumps[-1][1], 0.0)], model)
    assert model.second.outside - outside >= 30
    assert model.second.inside - inside <= 11


def test_a_market_that_does_not_move_has_a_band_without_width_and_stays_in_it():
    model = MarketModel()
    found = models([(BEGIN + number * STEP, 100.0, 1.0) for number in range(1301)], model)[-1]
    assert (found.beta_1s, found.half_width_1s, found.half_width_10s) == (0.0, 0.0, 0.0)
    assert (model.second.inside, model.second.outside) == (90, 0)


def test_of_few_observations_there_is_no_band_and_hardly_a_beta():
    quiet = [(BEGIN + number * 5 * SECOND, 100.0 + number % 2, 1.0) for number in range(26)]
    found = models(quiet)[-1]
    assert found.observations_1s == 24
    assert found.half_width_1s is None


# ---- who has no model, and until when


def ready_at(model, books):
    return next((time for time, *_ in books if model.follow(time, 100.0, 0.0)), None)


@pytest.mark.parametrize(("late", "ready"), [(0, 120), (1, 130), (STEP, 130), (9 * SECOND, 130), (10 * SECOND, 130)])
def test_a_model_takes_twelve_whole_blocks(late, ready):
    model = MarketModel()
    assert model.ready_time is None
    books = [(BEGIN + late + number * STEP, 100.0, 0.0) for number in range(1400)]
    model.follow(*books[0])
    assert model.ready_time == BEGIN + ready * SECOND
    first = ready_at(model, books[1:])
    assert BEGIN + ready * SECOND <= first < BEGIN + ready * SECOND + STEP


def test_what_may_be_missing_costs_two_minutes_again():
    model = MarketModel()
    books = market(Random(1), 130)
    assert models(books, model)[-1]
    model.restart()
    assert model.ready_time is None
    more = market(Random(2), 140, begin=BEGIN + 130 * SECOND + 1)
    found = models(more, model)
    assert [each is not None for each in found] == [time >= BEGIN + 260 * SECOND for time, *_ in more]
    assert found == models(more)


@pytest.mark.parametrize("back", [0, 1, 3 * SECOND])
def test_a_time_that_is_not_later_begins_anew(back):
    model = MarketModel()
    books = market(Random(1), 130)
    models(books, model)
    time = books[-1][0] - back
    assert model.follow(time, 100.0, 0.0) is None
    assert model.ready_time == -(-time // BLOCK) * BLOCK + WARM_UP


def test_a_book_of_one_side_is_no_outcome_and_no_observation():
    books = [
        (time, None if number % 2 else mid, lean) for number, (time, mid, lean) in enumerate(market(Random(1), 125))
    ]
    model = models(books)[-1]
    assert model.observations_1s == pytest.approx(600, abs=10)
    assert models([(time, None, 0.0) for time, *_ in books])[-1].observations_10s == 0


def test_who_joins_later_has_the_same_model_to_the_last_bit():
    books = market(Random(7), 300, beta=2.0)
    whole = models(books)
    for late in (1, 99, 100, 777):
        joined = models(books[late:])
        ready = next(number for number, model in enumerate(joined) if model)
        assert joined[ready:] == whole[late + ready :]
        assert joined[ready] is not None


@given(seeds, st.integers(0, 20), st.integers(0, SECOND))
def test_whoever_has_twelve_whole_blocks_agrees(seed, late, begin):
    books = wild(seed, BEGIN + begin, 220)
    own = models(books[late:])
    assert own[-1] is not None
    assert all(other is None or other == one for one, other in zip(models(books)[late:], own, strict=True))


def test_memory_is_bounded_whatever_comes():
    model = MarketModel()
    for number in range(60_000):
        model.follow(BEGIN + number * 500, 100.0, 0.0)
        assert len(model._course.seen_times) <= 1101
        assert len(model._course.times) <= 101
    quiet = MarketModel()
    models([(BEGIN + number * BLOCK, 1.0, 0.0) for number in range(40)], quiet)
    assert len(quiet.ten_seconds._blocks) == 12
    assert len(quiet._models) <= 2
