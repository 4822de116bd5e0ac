"""Stoikov's micro-price: the exact vectors, the states, the model of a market that is known."""

import json
from fractions import Fraction
from math import isclose, isnan, nan
from pathlib import Path
from random import Random

import pytest
from tables import each_row

from fairprice.errors import StartupError
from standalone.evaluate.chain import Transition, chain, solved
from standalone.evaluate.instants import STEP, Instants, made_for
from standalone.evaluate.micro_price import AHEAD, LIMIT, fitted, say_again
from standalone.evaluate.model_file import decimal, describe, read_model, write_model
from standalone.evaluate.states import BUCKETS, NEEDED, STATES, bucket, mirrored, states, tick_of

VECTORS = json.loads((Path(__file__).parents[2] / "converter/tests/fair_price_vectors.json").read_text())


@pytest.fixture(params=VECTORS["microprice_chains"], ids=lambda vector: vector["id"])
def vector(request):
    return request.param


def of(vector):
    """Return the transitions of a vector, how many states it has, and its mirror."""
    buckets = vector["n_imbalance"]
    transitions = [
        Transition(spread * buckets + imbalance, later_spread * buckets + later, float(move), count)
        for imbalance, spread, later, later_spread, move, count in vector["raw_transitions"]
    ]
    return (
        transitions,
        buckets * vector["n_spread"],
        lambda state: state // buckets * buckets + buckets - 1 - state % buckets,
    )


def test_counts_drift_and_limit_are_those_of_the_exact_vectors(vector):
    expected = vector["expected"]
    found = chain(*of(vector), fewest=1)

    assert found.counts == expected["symmetrised_row_totals"]
    assert found.drift == pytest.approx([each["f64"] for each in expected["one_step_drift_r"]], abs=1e-15)
    assert found.limit() == pytest.approx([each["f64"] for each in expected["G_star"]], abs=1e-14)


def test_a_finite_horizon_is_the_sum_of_what_each_step_brings_and_comes_to_the_limit(vector):
    transitions, count, mirror = of(vector)
    counts = [[Fraction() for _ in range(count)] for _ in range(count)]
    moves = [Fraction() for _ in range(count)]
    for state, later, move, times in transitions:
        for one, other, sign in ((state, later, 1), (mirror(state), mirror(later), -1)):
            counts[one][other] += times
            moves[one] += sign * Fraction(move) * times
    chances = [[number / sum(row) for number in row] for row in counts]
    where = [[Fraction(one == other) for other in range(count)] for one in range(count)]
    total = [Fraction()] * count
    for _ in range(3):
        total = [
            value + sum(chance * moves[state] / sum(counts[state]) for state, chance in enumerate(row))
            for value, row in zip(total, where, strict=True)
        ]
        where = [
            [sum(row[middle] * chances[middle][last] for middle in range(count)) for last in range(count)]
            for row in where
        ]

    found = chain(transitions, count, mirror, fewest=1)

    assert found.ahead(3) == pytest.approx([float(value) for value in total], abs=1e-14)
    assert found.ahead(500) == pytest.approx(found.limit(), abs=1e-9)
    assert found.ahead(0) == [0.0] * count


def test_from_each_state_the_next_step_and_what_is_expected_then_are_what_was_expected(vector):
    found = chain(*of(vector), fewest=1)
    limit = found.limit()

    for state, row in enumerate(found.matrix):
        later = sum(chance * value for chance, value in zip(row, limit, strict=True))
        assert isclose(found.drift[state] + later, limit[state], abs_tol=1e-14)
    assert isclose(sum(found.stationary()), 1.0)
    assert all(isclose(limit[state], -limit[of(vector)[2](state)], abs_tol=1e-14) for state in range(len(limit)))


def test_a_state_that_was_seen_rarely_is_unknown():
    found = chain(
        [Transition(0, 1, 1.0, 40), Transition(1, 0, 0.0, 40), Transition(2, 0, 9.0, 3)], 3, lambda state: state
    )

    assert found.counts == [80, 80, 6]
    assert found.drift[2] == 0.0
    assert found.matrix[2] == [0.5, 0.5, 0.0]
    with pytest.raises(ValueError, match="no state was seen often enough"):
        chain([Transition(0, 0, 1.0, 14)], 1, lambda state: state)


def test_states_that_never_meet_have_no_limit():
    apart = chain([Transition(0, 0, 0.0, 40), Transition(1, 1, 0.0, 40)], 2, lambda state: state)

    with pytest.raises(ValueError, match="never meet"):
        apart.limit()
    assert solved([[0.0, 2.0], [4.0, 0.0]], [6.0, 8.0]) == [2.0, 3.0]


@pytest.mark.parametrize("edge", VECTORS["imbalance_bucket_edges"], ids=lambda edge: edge["I"])
def test_buckets_have_the_edges_of_the_vectors(edge):
    share = Fraction(edge["I"])

    assert edge["n"] == BUCKETS
    assert bucket(share, 1 - share) == edge["bucket_1_based"] - 1


def test_a_mirrored_book_is_in_the_mirrored_state():
    assert [mirrored(state) for state in (0, 4, 9, 10, 19)] == [9, 5, 0, 19, 10]
    for share in (Fraction(numerator, 97) for numerator in range(1, 97)):
        assert mirrored(bucket(share, 1 - share)) == bucket(1 - share, share)


def market(rows, start=0):
    """Return instants of (mid, bid, spread, bid size, ask size)."""
    made = Instants(NEEDED)
    for place, (mid, *values) in enumerate(rows):
        made.add(start + place * STEP, 0, mid, mid, dict(zip(NEEDED, values, strict=True)))
    return made


def test_the_tick_is_what_all_best_prices_are_multiples_of():
    assert tick_of(market([(1.0, 60000.1, 0.3, 1.0, 1.0), (1.0, 60000.4, 0.9, 1.0, 1.0)])) == Fraction("0.1")
    assert tick_of(market([(1.0, 0.00001234, 0.00000001, 1.0, 1.0)])) == Fraction("0.00000001")
    assert tick_of(market([(1.0, nan, None, 1.0, 1.0)])) is None


def test_a_state_is_of_spread_and_imbalance_and_there_is_none_where_one_is_not_known():
    rows = [
        (1.0, 1.0, 0.01, 9.0, 1.0), (1.0, 1.0, 0.02, 1.0, 9.0), (1.0, 1.0, 0.5, 0.3, 0.7), (1.0, 1.0, 0.0, 1.0, 1.0),
        (1.0, 1.0, 0.01, None, 1.0), (1.0, 1.0, 0.01, 1.0, None), (1.0, 1.0, None, 1.0, 1.0),
    ]  # fmt: skip

    assert list(states(market(rows), Fraction("0.01"))) == [8, 10, 12, None, None, None, None]


def made(count, seed=1):
    """Return a market of one tick whose mid goes up by half a tick a step where the bids are greater, else down."""
    random, mid, rows = Random(seed), 1000.0, []
    for _ in range(count):
        is_up = random.random() < 0.5
        rows.append((mid, mid - 0.005, 0.01, *((8.5, 1.5) if is_up else (1.5, 8.5))))
        mid = round(mid + (0.005 if is_up else -0.005), 6)
    return market(rows)


def test_a_known_market_is_fitted_and_said_again_of_what_came_later():
    past, future = made(2000), made(50, seed=2)
    for instants, start in ((past, 0), (future, 10)):
        instants.values["bid"][:] = type(instants.mid)("d", [999.99 + 0.01 * place for place in range(len(instants))])
        for place in range(len(instants)):
            instants.times[place] += start * STEP
    model = fitted("binance", "BTCUSDT", past)

    assert (model.tick, model.first_time, model.last_time) == (Fraction("0.01"), 0, 1999 * STEP)
    assert isclose(model.chain.drift[8], 0.5)
    assert isclose(model.chain.drift[1], -0.5)
    assert sum(model.chain.counts) == 2 * 1999
    late = made(50, seed=2)
    for place in range(50):
        late.times[place] += 1990 * STEP
    say_again(late, model, [5 * STEP])

    assert [isnan(value) for value in late.values[LIMIT]] == [True] * 10 + [False] * 40
    assert all(map(isnan, late.values[AHEAD]))
    ahead = late.values[made_for(AHEAD, 5 * STEP)]
    for place in range(10, 50):
        is_up = late.values["bid_size"][place] > 5
        assert isclose(late.values[LIMIT][place] - late.own[place], 0.005 if is_up else -0.005, rel_tol=0.1)
        assert isclose(ahead[place] - late.own[place], 0.005 if is_up else -0.005, rel_tol=0.1)


def test_transitions_over_a_hole_do_not_count_and_nothing_is_said_of_an_unknown_state():
    past = made(2000)
    past.values["bid"][:] = type(past.mid)("d", [999.99 + 0.01 * place for place in range(2000)])
    whole = fitted("binance", "BTCUSDT", past)
    past.segments[1000:] = type(past.segments)("q", [1] * 1000)
    past.values["spread"][500] = nan
    holed = fitted("binance", "BTCUSDT", past)

    assert sum(whole.chain.counts) - sum(holed.chain.counts) == 2 * 3
    late = market([(1.0, 1.0, None, 1.0, 1.0)], start=10**12)
    say_again(late, holed, [])
    assert isnan(late.values[LIMIT][0])
    with pytest.raises(ValueError, match="no instant with a mid"):
        fitted("binance", "BTCUSDT", Instants(NEEDED))


@pytest.fixture(scope="module")
def model():
    past = made(2000)
    past.values["bid"][:] = type(past.mid)("d", [999.99 + 0.01 * place for place in range(2000)])
    return fitted("binance", "BTCUSDT", past)


def test_a_model_is_read_as_it_was_written(model, tmp_path):
    path = tmp_path / "model.json"
    write_model(path, model)

    assert read_model(path) == model
    assert describe(model) == (
        "micro_price of BTCUSDT of binance: fitted to 200 s up to 1970-01-01 00:03:19 UTC, tick 0.01, 1,999 "
        "transitions, 2 of 20 states seen often enough"
    )
    assert [decimal(Fraction(text)) for text in ("0.00000001", "10", "0.5")] == ["0.00000001", "10", "0.5"]


@each_row(
    ("change", "said"),
    [
        ({"model": "other"}, "model is 'other' and not 'micro_price'"),
        ({"step_us": 1}, "step_us is 1"),
        ({"counts": [1]}, f"it has not {STATES} states"),
        ({"drift": ["x"] * STATES}, "must be real number"),
        ({"drift": [None] * STATES}, "must be real number"),
        ({"matrix": [[1.0] * STATES] * STATES}, "drift or matrix hold what cannot be"),
        ({"matrix": [[2.0, -1.0, *[0.0] * (STATES - 2)]] * STATES}, "drift or matrix hold what cannot be"),
        (
            {"matrix": [[float(one == other) for other in range(STATES)] for one in range(STATES)]},
            "states that never meet",
        ),
        ({"tick": "0"}, "the tick is not positive"),
        ({"tick": "x"}, "Invalid literal"),
        ({"first_time": None}, "int"),
        (None, "'model'"),
        ("text", "line 1 column 1"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_a_sentence(model, tmp_path, change, said):
    path = tmp_path / "model.json"
    write_model(path, model)
    content = json.loads(path.read_text())
    path.write_text("nonsense" if change == "text" else json.dumps({} if change is None else content | change))

    with pytest.raises(StartupError, match="is no model of `standalone fit`: ") as error:
        read_model(path)

    assert said.lower() in str(error.value).lower()


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(model, tmp_path):
    with pytest.raises(StartupError, match=r"cannot read .*none\.json: No such file"):
        read_model(tmp_path / "none.json")
    with pytest.raises(StartupError, match=r"cannot write .*No such file"):
        write_model(tmp_path / "no" / "model.json", model)
