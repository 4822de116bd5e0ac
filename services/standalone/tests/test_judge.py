"""What is found of estimators where the truth is known."""

from array import array
from math import isclose

import made_instants
import pytest
from made_instants import lots

from standalone.evaluate.bands import bands, coverage, ends
from standalone.evaluate.bootstrap import Draws
from standalone.evaluate.instants import STEP, Instants
from standalone.evaluate.judge import Judge
from standalone.evaluate.score import SECOND, TooFew
from standalone.evaluate.significance import diebold_mariano
from standalone.evaluate.verdict import Verdict, suspicions, verdict

HALF, WHOLE = SECOND // 2, SECOND


def judge(instants, *, has_tickers=False, seed=7):
    return Judge(instants, lots(seed), has_tickers=has_tickers)


@pytest.mark.parametrize("horizon", [HALF, WHOLE])
def test_a_known_slope_is_found_within_its_interval_and_controls_show_nothing(horizon):
    drift = 0.5
    score = judge(made_instants.instants(3000, drift=drift)).score("lean", horizon)

    slope = made_instants.slope(drift, horizon // STEP)
    assert score.slope.low < slope < score.slope.high
    assert score.slope.high - score.slope.low < slope
    assert verdict(score) is Verdict.BEATS
    assert score.dm > 2
    assert all(score.controls[name].value > 1 for name in ("shuffled", "halves_swapped"))
    assert score.squared.value < score.controls["late_1s"].value
    assert suspicions([score]) == []


def test_where_a_lean_means_nothing_no_difference_can_be_shown():
    score = judge(made_instants.instants(3000, drift=0.0, size=0.05, seed=2)).score("lean", HALF)

    assert verdict(score) is Verdict.NO_DIFFERENCE
    assert score.squared.low < 1 < score.squared.high
    assert abs(score.dm) < 2


def test_a_lean_that_is_too_great_is_worse():
    score = judge(made_instants.instants(3000, drift=0.0, size=3.0)).score("lean", HALF)

    assert verdict(score) is Verdict.WORSE
    assert score.dm < -2


@pytest.mark.rounds
def test_of_markets_where_leans_mean_nothing_about_one_in_twenty_seems_to_show_something():
    found = [
        verdict(judge(made_instants.instants(2000, drift=0.0, size=0.05, seed=seed)).score("lean", HALF))
        for seed in range(100)
    ]

    assert found.count(Verdict.BEATS) <= 7
    assert found.count(Verdict.WORSE) <= 9


def test_an_estimator_that_looks_ahead_has_no_error_left_and_its_controls_do():
    market = made_instants.instants(2000, drift=0.0, names=("ahead",))
    market.values["ahead"][:-5] = market.mid[5:]

    score = judge(market).score("ahead", HALF)

    assert score.squared.value < 0.01
    assert isclose(score.slope.value, 1.0, rel_tol=0.01)
    assert all(score.controls[name].value > 1.5 for name in ("shuffled", "late_1s", "halves_swapped"))


def test_an_estimate_that_was_made_for_a_horizon_is_taken_there_and_the_other_one_elsewhere():
    market = made_instants.instants(1500, drift=0.5, names=("lean", "lean_500ms"))
    market.values["lean"][:] = market.mid

    near, far = (judge(market).score("lean", horizon) for horizon in (HALF, WHOLE))

    assert near.squared.value < 0.95
    assert far.squared.value == 1.0


def test_figures_do_not_change_with_what_else_is_judged():
    market = made_instants.instants(1500, drift=0.5, names=("lean", "other"))
    alone, after = judge(market), judge(market)
    after.score("other", HALF)

    assert alone.score("lean", HALF) == after.score("lean", HALF)


def test_the_mid_itself_is_the_measure_of_all():
    score = judge(made_instants.instants(1500, drift=0.5, size=0.0)).score("lean", HALF)

    assert score.squared == score.absolute == (1.0, 1.0, 1.0)
    assert score.dm is score.slope is None
    assert verdict(score) is Verdict.NO_DIFFERENCE


def test_figures_are_those_of_plain_sums():
    market = made_instants.instants(1200, drift=0.3)
    for place in range(100, 200):
        market.values["lean"][place] = float("nan")
    score = judge(market).score("lean", HALF)

    places = [place for place in range(1195) if not 100 <= place < 200]
    mids, estimates = market.mid, market.values["lean"]
    errors = [mids[place + 5] - estimates[place] for place in places]
    still = [mids[place + 5] - mids[place] for place in places]
    assert (score.pairs, score.moves) == (1095, 1095)
    assert isclose(score.squared.value, sum(e * e for e in errors) / sum(s * s for s in still), rel_tol=1e-6)
    assert isclose(score.absolute.value, sum(map(abs, errors)) / sum(map(abs, still)), rel_tol=1e-6)
    assert score.as_it_is is score.own_mid is None
    gains = [s * s - e * e for e, s in zip(errors, still, strict=True)]
    assert isclose(score.dm, diebold_mariano(places, gains, 10), rel_tol=1e-6)


def late_books(count=3000, behind=5):
    """Return instants at which the book is half a second old while tickers tell the mid."""
    market, late = made_instants.instants(count, drift=0.5), Instants(["lean"])
    for place in range(behind, count):
        mid, before = market.mid[place], market.mid[place - behind]
        late.add(place * STEP, 0, mid, before, {"lean": market.values["lean"][place] - mid + before})
    return late


def test_against_the_books_own_mid_an_old_price_looks_as_good_and_as_it_is_it_costs_its_age():
    score = judge(late_books(), has_tickers=True).score("lean", HALF)

    assert score.squared.value < 1 < score.as_it_is.low
    assert score.own_mid.value != score.squared.value
    assert verdict(score) is Verdict.BEATS


def test_a_price_made_anew_with_each_ticker_is_judged_as_it_is():
    market = late_books()
    market.values["live_lean"] = array("d", [mid + 1.0 for mid in market.mid])
    market.values["live_lean_500ms"] = market.mid

    live, other = (judge(market, has_tickers=True).score("lean", horizon).live for horizon in (HALF, WHOLE))

    assert live == (1.0, 1.0, 1.0)
    assert other.value > 1
    assert judge(late_books(), has_tickers=True).score("lean", HALF).live is None


@pytest.mark.parametrize(
    ("market", "pairs", "blocks"),
    [
        (made_instants.instants(900, drift=0.0), 895, 9),
        (Instants(["lean"]), 0, 0),
        (made_instants.instants(3, drift=0.0), 0, 0),
    ],
)
def test_of_too_few_pairs_nothing_is_said(market, pairs, blocks):
    score = judge(market).score("lean", HALF)

    assert isinstance(score, TooFew)
    assert (score.pairs, score.blocks) == (pairs, blocks)


def test_of_a_mid_that_never_moves_nothing_is_said():
    still = Instants(["lean"])
    for place in range(2000):
        still.add(place * STEP, 0, 10.0, 10.0, {"lean": 10.5})

    score = judge(still).score("lean", HALF)

    assert isinstance(score, TooFew)
    assert (score.pairs, score.moves, score.blocks) == (1995, 0, 20)


def test_bands_are_found_by_their_names():
    assert bands(["mid", "band_1s_low", "band_1s_high", "band_10s_low", "band_10s_high"]) == [SECOND, 10 * SECOND]
    assert ends(10 * SECOND) == ("band_10s_low", "band_10s_high")


def banded(count, half_width, *, behind=0.0):
    """Return instants with a band of a second whose book is `behind` the newest mid by so much."""
    names = ends(SECOND)
    market, made = made_instants.instants(count, drift=0.0, seed=3), Instants(names)
    for place, mid in enumerate(market.mid):
        own = mid - behind
        made.add(place * STEP, 0, mid, own, dict(zip(names, (own - half_width, own + half_width), strict=True)))
    return made


@pytest.mark.parametrize("behind", [0.0, 5.0])
def test_the_coverage_of_a_band_is_the_part_of_moves_that_it_holds(behind):
    market = banded(3000, 1.645 * 10**0.5, behind=behind)

    found = coverage(market, SECOND, Draws(lots(1)))

    inside = sum(abs(later - mid) <= 1.645 * 10**0.5 for mid, later in zip(market.mid, market.mid[10:], strict=False))
    assert found.pairs == 2990
    assert isclose(found.share.value, inside / 2990)
    assert found.share.low < 0.9 < found.share.high


def test_there_is_no_coverage_of_a_band_that_was_not_there():
    names, draws = ends(SECOND), Draws(lots(1))
    nothing, half = banded(2000, 1.0), banded(2000, 1.0)
    for name in names:
        nothing.values[name][:] = type(nothing.mid)("d", [float("nan")] * 2000)
    half.values[names[0]][5] = float("nan")

    assert coverage(nothing, SECOND, draws) is None
    assert coverage(half, SECOND, draws) is None
    assert judge(banded(50, 1.0)).coverage(SECOND) is None
