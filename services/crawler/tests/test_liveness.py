from itertools import pairwise
from random import Random

import pytest

from crawler.liveness import LagWatch, Merged, Newest, Progress, SilenceWatch

TIMEOUT = 10.0


def test_what_was_taken_is_a_repeat_and_what_is_newer_is_not():
    merged = Merged()
    assert not merged.is_repeat("BTCUSDT", 7, 0.0)
    merged.take("BTCUSDT", 7)
    assert merged.is_repeat("BTCUSDT", 7, 0.0)
    assert merged.is_repeat("BTCUSDT", 6, 0.0)
    assert not merged.is_repeat("BTCUSDT", 8, 0.0)
    assert not merged.is_repeat("ETHUSDT", 7, 0.0)


def test_ids_that_restart_are_taken_after_twenty_repeats_and_two_seconds_and_followed():
    merged = Merged()
    merged.take("BTCUSDT", 1_000_000)
    repeats = [merged.is_repeat("BTCUSDT", number, number / 10) for number in range(1, 22)]
    assert repeats == [True] * 20 + [False]
    assert merged.take("BTCUSDT", 21), "it says that ids have begun anew"
    assert not merged.is_repeat("BTCUSDT", 22, 2.1)
    assert not merged.take("BTCUSDT", 22)


def test_a_burst_of_a_connection_that_is_behind_is_no_new_beginning():
    merged = Merged()
    merged.take("BTCUSDT", 1000)
    assert all(merged.is_repeat("BTCUSDT", number, 1.9) for number in range(1, 1001))


def test_a_few_repeats_after_a_long_pause_are_no_new_beginning():
    merged = Merged()
    merged.take("BTCUSDT", 1000)
    assert all(merged.is_repeat("BTCUSDT", 1000 - number, 3600.0) for number in range(20))


def test_something_newer_between_shows_that_ids_go_on():
    merged = Merged()
    for update_id in range(100, 200):
        assert not merged.is_repeat("BTCUSDT", update_id, update_id)
        merged.take("BTCUSDT", update_id)
        assert merged.is_repeat("BTCUSDT", update_id - 90, update_id + 0.5), "a connection far behind, for ever"


def test_what_was_missing_behind_a_hole_is_no_repeat_when_it_comes_late():
    merged = Merged()
    merged.take("BTCUSDT", 103, 103)
    merged.take("BTCUSDT", 107, 106)
    assert not merged.is_repeat("BTCUSDT", 105, 0.2)
    assert not merged.take("BTCUSDT", 105, 104), "ids do not begin anew"
    assert merged.is_repeat("BTCUSDT", 103, 0.3)
    assert merged.is_repeat("BTCUSDT", 107, 0.3)
    assert not merged.is_repeat("BTCUSDT", 108, 0.3)


def test_a_forgotten_symbol_takes_any_id():
    merged = Merged()
    merged.take("BTCUSDT", 100)
    merged.forget(["BTCUSDT", "never seen"])
    assert not merged.is_repeat("BTCUSDT", 1, 0.0)
    assert not merged.take("BTCUSDT", 1)


def test_a_ticker_is_newer_than_the_last_one_of_its_symbol_or_it_is_not():
    """The first of a symbol is left to decoding, which shows whether it can be read."""
    merged = Merged()
    assert not merged.is_newer("BTCUSDT", 7)
    merged.take("BTCUSDT", 7)
    assert not merged.is_newer("BTCUSDT", 6)
    assert not merged.is_newer("BTCUSDT", 7)
    assert merged.is_newer("BTCUSDT", 8)
    assert not merged.is_newer("BTCUSDT", 8)
    assert not merged.is_newer("ETHUSDT", 9)


def test_a_newer_ticker_shows_that_ids_go_on():
    merged = Merged()
    merged.take("BTCUSDT", 1000)
    for number in range(1, 100):
        assert merged.is_repeat("BTCUSDT", number, float(number)), "a connection far behind, for ever"
        assert merged.is_newer("BTCUSDT", 1000 + number)


def lag(watch, now, newest, **connections):
    progress = {name: Progress(ids, 0.0, TIMEOUT) for name, ids in connections.items()}
    return watch.lagging(progress, newest, now)


def test_a_connection_is_behind_when_another_one_has_brought_an_id_for_long_enough():
    watch = LagWatch(["A"])
    newest = {"A": Newest(5, 100.0)}
    assert lag(watch, 100.5, newest, one={"A": 5}, two={"A": 4}) == {}
    assert lag(watch, 109.5, newest, one={"A": 5}, two={"A": 4}) == {}
    assert lag(watch, 110.0, newest, one={"A": 5}, two={"A": 4}) == {"two": ["A"]}


def test_a_connection_that_never_brought_a_symbol_is_behind_too():
    watch = LagWatch(["A"])
    assert lag(watch, 110.0, {"A": Newest(5, 100.0)}, one={"A": 5}, two={}) == {"two": ["A"]}


def test_a_slow_connection_that_reaches_each_id_late_is_not_behind():
    watch = LagWatch(["A"])
    for tick in range(200):
        now = tick / 2
        newest = {"A": Newest(tick, now)}
        assert lag(watch, now, newest, one={"A": tick}, two={"A": max(0, tick - 10)}) == {}, "five seconds behind"


def test_a_thin_symbol_whose_id_came_first_by_the_other_connection_is_nobodys_lag():
    watch = LagWatch(["THIN"])
    assert lag(watch, 1000.0, {"THIN": Newest(5, 100.001)}, one={"THIN": 5}, two={"THIN": 5}) == {}


def test_what_came_before_a_connection_was_subscribed_is_not_missed():
    watch = LagWatch(["A"])
    progress = {"new": Progress({}, 200.0, TIMEOUT)}
    assert watch.lagging(progress, {"A": Newest(5, 100.0)}, 500.0) == {}


def test_a_busy_symbol_that_one_connection_has_lost_is_found_although_the_newest_id_moves_on():
    watch = LagWatch(["A"])
    for tick in range(30):
        now = 100 + tick / 2
        late = lag(watch, now, {"A": Newest(1000 + tick, now)}, one={"A": 1000 + tick}, two={"A": 999})
        assert bool(late) == (now >= 110.0)


def test_after_a_restart_lag_counts_from_there():
    watch = LagWatch(["A"])
    lag(watch, 100.0, {"A": Newest(5, 100.0)}, two={"A": 4})
    watch.restart()
    assert lag(watch, 130.0, {"A": Newest(9, 129.0)}, two={"A": 4}) == {}


class Market:
    """One symbol, its stream and the REST that is asked for it, on numbers only."""

    def __init__(self, watch, symbol="A"):
        self.watch = watch
        self.symbol = symbol
        self.newest = {}
        self.questions = []
        self.stalls = []

    def hear(self, update_id, now):
        self.newest[self.symbol] = Newest(update_id, now)

    def turn(self, now, rest_id):
        """Look twice a second, as streams do; REST is at `rest_id`."""
        self.stalls += [now for _ in self.watch.stalled(self.newest, now)]
        for symbol in self.watch.unheard(self.newest, now):
            self.questions.append(now)
            self.watch.note_question(symbol)
            self.watch.note_answer(symbol, rest_id, self.newest.get(symbol), now)


@pytest.fixture
def market():
    return Market(SilenceWatch(["A"], TIMEOUT))


def times(until, start=0.0):
    return [start + tick / 2 for tick in range(1, int(2 * (until - start)) + 1)]


def test_a_symbol_silent_from_the_start_whose_market_moves_is_stalled(market):
    for now in times(20):
        market.turn(now, rest_id=round(1000 * now))
    assert market.questions[:2] == [10.0, 12.0], "the first answer proves nothing, so the second question is soon"
    assert market.stalls == [14.0]


def test_a_symbol_silent_from_the_start_whose_market_rests_is_asked_less_and_less(market):
    for now in times(3600):
        market.turn(now, rest_id=7)
    assert not market.stalls
    assert market.questions[:6] == [10.0, 12.0, 32.0, 72.0, 152.0, 312.0]
    pauses = [later - earlier for earlier, later in pairwise(market.questions)]
    assert max(pauses) == pauses[-1] == 600.0


def test_a_symbol_heard_before_is_stalled_once_rest_is_ahead(market):
    for now in times(100):
        market.hear(round(now), now)
        market.turn(now, rest_id=round(now))
    assert not market.questions
    for now in times(120, start=100):
        market.turn(now, rest_id=round(now))
    assert market.questions[0] == 110.0
    assert market.stalls[0] == 112.0


def test_a_diff_that_reaches_what_rest_told_shows_a_quiet_market(market):
    market.hear(5, 1.0)
    for now in times(11):
        market.turn(now, rest_id=6)
    assert market.questions == [11.0]
    market.hear(6, 12.9)
    for now in times(30, start=11):
        market.turn(now, rest_id=6)
    assert not market.stalls
    assert market.questions == [11.0], "the pause has doubled"


def test_a_diff_that_is_older_than_what_rest_told_does_not(market):
    market.hear(5, 1.0)
    for now in times(11):
        market.turn(now, rest_id=9)
    market.hear(8, 12.0)
    for now in times(14, start=11):
        market.turn(now, rest_id=9)
    assert market.stalls == [13.0]


def test_what_is_known_to_have_been_missed_is_no_stall_again(market):
    market.hear(5, 1.0)
    for now in times(3600):
        market.turn(now, rest_id=9)
    assert market.stalls == [13.0]


def test_a_question_that_cannot_be_asked_now_is_asked_later(market):
    market.hear(5, 0.0)
    for now in times(35):
        market.turn(now, rest_id=None)
    assert market.questions == [10.0, 20.0, 30.0]
    assert not market.stalls


def test_a_symbol_that_is_lively_again_is_watched_closely_again(market):
    for now in times(1000):
        market.turn(now, rest_id=7)
    for number, now in enumerate(times(2000, start=1000)):
        market.hear(7 + number, now)
        market.turn(now, rest_id=7 + number)
    market.questions.clear()
    for now in times(2020, start=2000):
        market.turn(now, rest_id=10**6)
    assert market.questions[0] == 2010.0
    assert market.stalls == [2012.0]


def test_a_symbol_that_there_is_nobody_to_ask_about_is_named_half_as_often_each_time():
    watch, named = SilenceWatch(["A", "B"], TIMEOUT, longest=35.0), []
    for now in times(140):
        if unheard := watch.unheard({"B": Newest(1, now)}, now):
            assert unheard == ["A"]
            named.append(now)
            watch.lengthen(unheard, now)
    assert named == [10.0, 30.0, 65.0, 100.0, 135.0]


def test_a_symbol_that_is_let_go_is_not_asked_for_and_a_late_answer_about_it_changes_nothing():
    watch = SilenceWatch(["A", "B"], TIMEOUT)
    watch.note_question("A")
    watch.follow(["B", "C"], 5.0)
    watch.note_answer("A", 7, None, 6.0)
    assert watch.unheard({}, 9.5) == []
    assert watch.unheard({}, 10.0) == ["B"], "what is followed goes on as before"
    assert watch.unheard({}, 15.0) == ["B", "C"], "what is new has its whole pause"


def test_while_a_question_is_under_way_it_is_not_asked_again():
    watch = SilenceWatch(["A", "B"], TIMEOUT)
    assert watch.unheard({"B": Newest(1, 5.0)}, 15.0) == ["A", "B"], "the longest silent first"
    watch.note_question("A")
    assert watch.unheard({}, 100.0) == ["B"]


def test_after_an_outage_what_rest_told_before_is_forgotten(market):
    market.hear(5, 1.0)
    for now in times(12):
        market.turn(now, rest_id=5)
    market.newest.clear()
    market.watch.restart(1000.0, forget=True)
    for now in times(1100, start=1000):
        market.turn(now, rest_id=9)
    assert not market.stalls, "what was sent in the outage was missed by the outage"


def test_a_restart_lets_nobody_have_been_silent_before(market):
    market.watch.restart(1000.0)
    assert market.watch.unheard({}, 1009.5) == []
    assert market.watch.unheard({}, 1010.0) == ["A"]


def test_thin_bursty_symbols_cost_few_questions_and_no_stall():
    """Eight symbols, each a burst of diffs each half minute or so; REST is always at what was heard."""
    random, stalls, questions = Random(1), 0, 0
    markets = [Market(SilenceWatch([f"S{number}"], TIMEOUT), f"S{number}") for number in range(8)]
    bursts = {market.symbol: 0.0 for market in markets}
    for now in times(900):
        for number, market in enumerate(markets):
            if now >= bursts[market.symbol]:
                market.hear(round(now * 10) + number, now)
                if random.random() < 0.3:
                    bursts[market.symbol] = now + random.expovariate(1 / 30)
            market.turn(now, rest_id=market.newest[market.symbol].update_id)
    for market in markets:
        stalls += len(market.stalls)
        questions += len(market.questions)
    assert stalls == 0
    assert questions < 8 * 20
