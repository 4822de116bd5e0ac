"""A verdict follows from the interval, and says what it is worth."""

import re
from dataclasses import replace

import orjson
import pytest
from tables import each_row

from standalone.evaluate.bands import Coverage
from standalone.evaluate.bootstrap import Interval
from standalone.evaluate.report import Report, as_json, lines
from standalone.evaluate.score import SECOND, Score, TooFew
from standalone.evaluate.verdict import Verdict, band_sentence, sentence, suspicions, verdict

NOTHING = Interval(1.02, 1.01, 1.03)
GOOD = Score(
    estimator="curve_mid",
    horizon=SECOND,
    pairs=3434,
    moves=1369,
    squared=Interval(0.94, 0.91, 0.97),
    absolute=Interval(0.99, 0.97, 1.01),
    slope=Interval(1.5, 1.0, 2.0),
    dm=3.4,
    as_it_is=Interval(0.997, 0.96, 1.02),
    own_mid=Interval(0.92, 0.9, 0.95),
    live=Interval(0.93, 0.9, 0.96),
    controls={"shuffled": NOTHING, "late_1s": Interval(0.98, 0.97, 0.99), "halves_swapped": NOTHING},
)
SHORT = TooFew("impact_mid", 5 * SECOND, pairs=1200, moves=300, blocks=9)


@each_row(
    ("squared", "absolute", "kind", "words"),
    [
        ((0.94, 0.91, 0.97), (0.99, 0.97, 1.01), Verdict.BEATS, "curve_mid beats the mid at 1 s by 6.0 % [3.0, 9.0]"),
        ((0.80, 0.72, 0.88), (0.9, 0.8, 0.95), Verdict.BEATS, "curve_mid beats the mid at 1 s by 20 % [12, 28]"),
        ((0.999, 0.998, 0.9999), (1, 1, 1), Verdict.BEATS, "curve_mid beats the mid at 1 s by 0.10 % [0.01, 0.20]"),
        (
            (0.94, 0.91, 0.97),
            (1.054, 1.023, 1.107),
            Verdict.BEATS,
            "curve_mid beats the mid at 1 s by 6.0 % [3.0, 9.0]; its absolute error is greater by 5.4 % [2.3, 10.7]",
        ),
        (
            (0.99, 0.97, 1.0),
            (1, 1, 1),
            Verdict.NO_DIFFERENCE,
            "curve_mid at 1 s: no difference can be shown [0.0, 3.0]",
        ),
        (
            (1.01, 1.0, 1.02),
            (1, 1, 1),
            Verdict.NO_DIFFERENCE,
            "curve_mid at 1 s: no difference can be shown [-2.0, 0.0]",
        ),
        (
            (1.0001, 0.9996, 1.00001),
            (1, 1, 1),
            Verdict.NO_DIFFERENCE,
            "curve_mid at 1 s: no difference can be shown [0.00, 0.04]",
        ),
        (
            (1.00, 0.98, 1.03),
            (0.96, 0.88, 0.999),
            Verdict.NO_DIFFERENCE,
            "curve_mid at 1 s: no difference can be shown [-3.0, 2.0]; its absolute error is smaller by 4 % [0, 12]",
        ),
        (
            (1.05, 1.02, 1.09),
            (1.2, 1.1, 1.3),
            Verdict.WORSE,
            "curve_mid is worse than the mid at 1 s by 5.0 % [2.0, 9.0]",
        ),
    ],
)
def test_the_verdict_follows_from_the_interval(squared, absolute, kind, words):
    score = replace(GOOD, squared=Interval(*squared), absolute=Interval(*absolute))

    assert verdict(score) is kind
    assert sentence(score) == words


def test_too_few_pairs_are_told():
    assert verdict(SHORT) is Verdict.TOO_FEW
    assert sentence(SHORT) == (
        "impact_mid at 5 s: too few pairs to say anything: "
        "1,200 with 300 moves in 9 blocks of time, and 10 are the least"
    )


@pytest.mark.parametrize("name", ["shuffled", "halves_swapped"])
def test_a_control_that_beats_the_mid_by_far_makes_all_doubtful(name):
    def control(value, low, high):
        return replace(GOOD, controls={**GOOD.controls, name: Interval(value, low, high)})

    assert suspicions([SHORT, control(0.99, 0.98, 0.999)]) == []
    assert suspicions([control(0.9, 0.87, 0.93), GOOD]) == [
        f"curve_mid at 1 s, {name.replace('_', ' ')}, beats the mid as well: nothing here is to be believed"
    ]
    assert suspicions([replace(GOOD, controls={**GOOD.controls, name: None})]) == []


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ((0.89, 0.86, 0.92), "the band of 10 s covers 89.0 % [86.0, 92.0], as it says (90 %)"),
        ((0.74, 0.68, 0.79), "the band of 10 s covers 74 % [68, 79] instead of 90 %"),
        ((0.97, 0.95, 0.98), "the band of 10 s covers 97.0 % [95.0, 98.0] instead of 90 %"),
    ],
)
def test_a_band_says_whether_it_covers_what_it_says(share, words):
    assert band_sentence(Coverage(10 * SECOND, 3000, Interval(*share))) == words


def report(*scores, has_tickers=True, bands=()):
    return Report("binance", "BTCUSDT", has_tickers, SECOND, 347 * SECOND, 3457, 3449, 28040, 2, scores, bands)


def test_a_report_is_a_table_and_its_words():
    mid = replace(GOOD, estimator="mid", squared=Interval(1.0, 1.0, 1.0), dm=None, slope=None, own_mid=None)
    found = list(lines(report(mid, GOOD, SHORT, bands=[Coverage(SECOND, 3000, Interval(0.9, 0.88, 0.92))])))

    assert found[0] == (
        "BTCUSDT of binance: 346 s, 3,457 instants 0.1 s apart in receive time, from 3,449 books and 28,040 tickers, "
        "2 breaks"
    )
    assert found[1] == "Measured against the real-time mid, that of the tickers."
    cells = [re.split("  +", line) for line in found[3:7]]
    assert [row[1] for row in cells] == ["estimator", "mid", "curve_mid", "impact_mid"]
    assert cells[2] == [
        "1 s", "curve_mid", "0.940", "[0.910, 0.970]", "0.990", "3.4", "1.50", "3,434", "1,369", "0.997", "0.920",
        "0.930",
        "1.020", "0.980", "1.020",
    ]  # fmt: skip
    assert cells[1][5:7] == ["-", "-"]
    assert cells[1][10] == "-"
    assert cells[3] == ["5 s", "impact_mid", *"-----", "1,200", "300", *"------"]
    assert len({len(line) for line in found[3:7]}) == 1
    assert found[-3:] == [
        sentence(GOOD),
        sentence(SHORT),
        band_sentence(Coverage(SECOND, 1, Interval(0.9, 0.88, 0.92))),
    ]
    assert not any(line.startswith(("mid ", "forecast_mid")) for line in found)


@pytest.mark.parametrize("has_tickers", [True, False])
def test_where_the_terminal_is_too_narrow_the_table_is_two(has_tickers):
    whole = list(lines(report(GOOD, SHORT, has_tickers=has_tickers)))
    width = max(len(line) for line in whole[3:6])
    assert list(lines(report(GOOD, SHORT, has_tickers=has_tickers), width)) == whole

    first = list(lines(report(GOOD, SHORT, has_tickers=has_tickers), width - 1))[3:10]

    assert first[3] == ""
    for place in range(3):
        one, other = (re.split("  +", first[at]) for at in (place, place + 4))
        assert one[:2] == other[:2]
        assert one + other[2:] == re.split("  +", whole[3 + place])
    assert max(map(len, first)) < width


def test_of_a_store_it_is_said_that_there_are_no_tickers():
    stored = replace(GOOD, as_it_is=None, own_mid=None, live=None)
    found = list(lines(report(stored, SHORT, has_tickers=False)))

    assert "in the exchange's time, from 3,449 books, 2 breaks" in found[0]
    assert "a store holds no tickers" in found[1]
    assert "own mid" not in found[3]
    assert len(re.split("  +", found[4])) == len(re.split("  +", found[5])) == 12


@pytest.mark.parametrize(("has_tickers", "told"), [(True, "as far as the horizon"), (False, "as far as was set")])
def test_how_far_a_forecast_looks_is_told(has_tickers, told):
    forecast = replace(GOOD, estimator="forecast_mid")
    found = list(lines(report(forecast, has_tickers=has_tickers)))

    assert (
        [line for line in found if line.startswith("forecast_mid: ")]
        == [line for line in found if f"forecast_mid: ahead {told}" in line]
        != []
    )


def test_what_is_doubtful_is_said_last():
    control = Interval(0.5, 0.4, 0.6)
    doubtful = replace(GOOD, controls={**GOOD.controls, "shuffled": control})

    assert list(lines(report(doubtful)))[-1].startswith("warning: curve_mid at 1 s, shuffled, beats the mid")


def test_json_holds_all_of_it():
    mid = replace(GOOD, estimator="mid", slope=None, dm=None)
    covered = Coverage(SECOND, 3000, Interval(0.9, 0.88, 0.92))
    found = orjson.loads(orjson.dumps(as_json(report(mid, GOOD, SHORT, bands=[covered]))))

    assert {name: found[name] for name in ("venue", "symbol", "target", "instants", "books", "breaks")} == {
        "venue": "binance", "symbol": "BTCUSDT", "target": "real_time_mid", "instants": 3457, "books": 3449,
        "breaks": 2,
    }  # fmt: skip
    first, good, short = found["estimators"]
    assert (first["verdict"], first["sentence"], first["mincer_zarnowitz"]) == (None, None, None)
    assert good == {
        "estimator": "curve_mid", "horizon_s": 1.0, "verdict": "beats", "sentence": sentence(GOOD), "pairs": 3434,
        "moves": 1369, "squared": {"value": 0.94, "low": 0.91, "high": 0.97},
        "absolute": {"value": 0.99, "low": 0.97, "high": 1.01}, "diebold_mariano": 3.4,
        "mincer_zarnowitz": {"value": 1.5, "low": 1.0, "high": 2.0},
        "as_it_is": {"value": 0.997, "low": 0.96, "high": 1.02}, "own_mid": {"value": 0.92, "low": 0.9, "high": 0.95},
        "live": {"value": 0.93, "low": 0.9, "high": 0.96},
        "controls": {
            "shuffled": {"value": 1.02, "low": 1.01, "high": 1.03},
            "late_1s": {"value": 0.98, "low": 0.97, "high": 0.99},
            "halves_swapped": {"value": 1.02, "low": 1.01, "high": 1.03},
        },
    }  # fmt: skip
    assert short["verdict"] == "too_few"
    assert found["bands"] == [
        {
            "horizon_s": 1.0, "pairs": 3000, "stated": 0.9, "covered": {"value": 0.9, "low": 0.88, "high": 0.92},
            "sentence": band_sentence(covered),
        }
    ]  # fmt: skip
    assert as_json(report(GOOD, has_tickers=False))["target"] == "mid_of_the_row"


def test_a_symbol_is_too_short_where_nothing_can_be_said_of_any():
    assert report(SHORT, SHORT).is_too_short
    assert not report(SHORT, GOOD).is_too_short
