"""What the crawler tells of its symbols, and that it tells it without bound to nobody."""

import pytest
import structlog
from clocks import ManualClock

from crawler import report as report_module
from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.steps import Fact
from crawler.report import MAX_SKEW, SKEW_WINDOW, STATUS_INTERVAL, Report
from crawler.selection import Selection
from crawler.stream_events import Unreadable
from crawler.symbols import SymbolBoard
from crawler.venues.port import SymbolStatus
from fairprice.messages import Book, Gap

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TRADING = SymbolStatus(is_trading=True, word="TRADING")
HALTED = SymbolStatus(is_trading=False, word="BREAK")


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def clock():
    return ManualClock()


class Crew:
    """A report with its feeds and board."""

    def __init__(self, clock, symbols=SYMBOLS):
        self.clock = clock
        self.feeds = {symbol: Feed("venue", symbol, "one", levels=20, is_alone=True) for symbol in symbols}
        self.board = SymbolBoard(Selection(symbols))
        self.board.begin(dict.fromkeys(symbols, TRADING), "")
        self.report = Report("venue", "one", self.feeds, self.board, clock)

    def synchronise(self, *symbols):
        for symbol in symbols:
            self.feeds[symbol].receive_diff(Diff(symbol, 101, 105, 1, [], []), 1)
            self.feeds[symbol].receive_snapshot(Snapshot(symbol, 100, [["1.0", "1"]], [["2.0", "1"]], True, True))

    def statuses(self):
        return {status.symbol: (status.exchange_status, status.is_halted, status.problem)
                for status in self.report.statuses()}  # fmt: skip

    def samples(self):
        return {(name, labels): value for name, labels, value in self.report.samples()}


@pytest.fixture
def crew(clock):
    return Crew(clock)


def test_how_often_bands_held_and_how_long_it_takes_to_learn_is_told(crew):
    assert ("crawler_learning_seconds", ("venue", "BTCUSDT")) not in crew.samples()
    crew.synchronise("BTCUSDT")
    samples = crew.samples()
    assert samples["crawler_learning_seconds", ("venue", "BTCUSDT")] == pytest.approx(130, abs=0.001)
    assert ("crawler_learning_seconds", ("venue", "ETHUSDT")) not in samples
    assert {status.symbol: status.model_time for status in crew.report.statuses()} == {
        "BTCUSDT": 130_000_000, "ETHUSDT": None,
    }  # fmt: skip
    for second in range(1, 151):
        diff = Diff("BTCUSDT", 105 + second, 105 + second, second * 1_000_000, [["1.0", str(second)]], [])
        crew.feeds["BTCUSDT"].receive_diff(diff, 1)
    samples = crew.samples()
    assert samples["crawler_learning_seconds", ("venue", "BTCUSDT")] == 0
    bands = {labels[2:]: value for (name, labels), value in samples.items() if name == "crawler_band_outcomes_total"
             and labels[1] == "BTCUSDT"}  # fmt: skip
    assert bands == {("1s", "inside"): 19, ("1s", "outside"): 0, ("10s", "inside"): 10, ("10s", "outside"): 0}
    [status] = crew.report.statuses()
    assert (status.symbol, status.model_time) == ("BTCUSDT", None)


def gap(symbol="BTCUSDT", first=101, last=110, reason="disconnect"):
    return Gap("venue", symbol, first, last, 1_000_000, 3_500_000, reason)


# What is out of sync


def test_a_symbol_is_named_until_it_is_in_sync(crew):
    assert crew.report.out_of_sync == crew.report.without_books == SYMBOLS
    assert crew.report.problem() == "not in sync: BTCUSDT, ETHUSDT"
    crew.synchronise("ETHUSDT")
    assert crew.report.problem() == "not in sync: BTCUSDT"
    assert (crew.report.without_books, crew.report.books) == (("BTCUSDT",), 1)
    crew.synchronise("BTCUSDT")
    assert crew.report.problem() is None


def test_a_symbol_that_does_not_trade_is_no_problem(crew):
    crew.synchronise("BTCUSDT")
    crew.board.update({"BTCUSDT": TRADING, "ETHUSDT": HALTED})
    assert crew.report.problem() is None


def test_of_many_symbols_a_few_are_named(clock):
    problem = Crew(clock, [f"S{number}" for number in range(25)]).report.problem()
    assert problem == "0 of 25 in sync; not in sync: S0, S1, S2, S3, S4, S5, S6, S7, S8, S9 and 15 more"


async def test_how_far_many_symbols_have_come_is_told_with_the_time_that_is_left(clock, logged):
    crew = Crew(clock, [f"S{number}" for number in range(30)])

    def lines():
        list(crew.report.statuses())
        found = [entry["event"] for entry in logged if "in sync" in entry["event"]]
        logged.clear()
        return found

    assert lines() == ["0 of 30 in sync"]
    for number in range(10):
        await clock.advance(1.0)
        crew.synchronise(f"S{number}")
        assert lines() == (["10 of 30 in sync, about 20 s left"] if number == 9 else [])
    assert crew.report.problem().startswith("10 of 30 in sync, about 20 s left; not in sync: S10, ")
    await clock.advance(1.0)
    crew.synchronise(*crew.feeds)
    assert lines() == ["all 30 symbols in sync"]
    assert crew.report.problem() is None
    crew.feeds["S0"].sync.lose("crossed")
    assert (lines(), crew.report.problem()) == ([], "not in sync: S0")


def test_what_is_let_go_is_told_no_more(crew, logged):
    crew.report.count(gap("ETHUSDT"))
    list(crew.report.statuses())
    for _ in range(2):
        changes = crew.board.update({"BTCUSDT": TRADING})
    del crew.feeds["ETHUSDT"]
    crew.report.forget("ETHUSDT")
    crew.report.count_changes(changes)
    assert changes == ((), ("ETHUSDT",))
    assert not [labels for _, labels in crew.samples() if "ETHUSDT" in labels]
    assert crew.samples()["crawler_symbol_changes_total", ("venue", "let_go")] == 1
    assert crew.samples()["crawler_symbols", ("venue",)] == 1
    assert [entry["symbols"] for entry in logged if "let go" in entry["event"]] == ["ETHUSDT"]


# Statuses


async def test_a_status_is_told_on_change_and_once_a_minute(crew, clock):
    unsynced = ("TRADING", False, "the order book is not in sync")
    assert crew.statuses() == dict.fromkeys(SYMBOLS, unsynced)
    assert crew.statuses() == {}
    crew.synchronise("BTCUSDT")
    assert crew.statuses() == {"BTCUSDT": ("TRADING", False, None)}
    await clock.advance(STATUS_INTERVAL - 0.1)
    assert crew.statuses() == {}
    await clock.advance(0.1)
    assert crew.statuses() == {"BTCUSDT": ("TRADING", False, None), "ETHUSDT": unsynced}
    assert crew.statuses() == {}


def test_a_halt_is_told_by_the_exchange_s_word_and_is_no_problem_of_ours(crew):
    crew.synchronise(*SYMBOLS)
    crew.statuses()
    crew.board.update({"BTCUSDT": HALTED})
    assert crew.statuses() == {"BTCUSDT": ("BREAK", True, None), "ETHUSDT": ("UNLISTED", True, None)}


def test_a_status_says_who_tells_it_and_when(crew, clock):
    clock.wall_us = 5_000_000
    status = next(iter(crew.report.statuses()))
    assert (status.venue, status.crawler, status.event_time) == ("venue", "one", 5_000_000)


def test_that_nothing_can_be_compared_is_told(crew):
    crew.synchronise(*SYMBOLS)
    crew.feeds["ETHUSDT"].is_unaudited = True
    assert crew.statuses()["ETHUSDT"] == ("TRADING", False, "nothing to compare the order book with: no tickers")
    assert crew.samples()["crawler_unaudited", ("venue", "ETHUSDT")] == 1
    assert crew.samples()["crawler_unaudited", ("venue", "BTCUSDT")] == 0


# The clocks


async def minute(crew, clock, *latenesses):
    """Let a minute pass in which diffs come so many microseconds late."""
    for lateness in latenesses:
        crew.report.count_diff(clock.wall() - lateness, clock.wall())
    await clock.advance(SKEW_WINDOW)
    return crew.statuses()


async def test_the_least_late_diff_of_a_minute_tells_how_the_clocks_differ(crew, clock, logged):
    crew.synchronise(*SYMBOLS)
    assert ("crawler_clock_skew_seconds", ("venue",)) not in crew.samples()
    await minute(crew, clock, 9 * MAX_SKEW, 30_000, 5 * MAX_SKEW)
    assert crew.samples()["crawler_clock_skew_seconds", ("venue",)] == -0.03
    assert logged == []


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (1, "data come late: the stream lags, or the crawler's clock is ahead of the exchange's"),
        (-1, "the crawler's clock is behind the exchange's; set it right"),
    ],
)
async def test_a_clock_that_is_wrong_is_told_once_and_shown_until_it_is_right(crew, clock, logged, sign, told):
    """Only what comes before it was sent proves that; what comes late may be the way."""
    crew.synchronise(*SYMBOLS)
    wrong = ("TRADING", False, told)
    off = sign * (MAX_SKEW + 1)
    assert await minute(crew, clock, off, off + 10**6) == dict.fromkeys(SYMBOLS, wrong)
    await minute(crew, clock, off)
    assert [(entry["log_level"], entry["event"], entry["seconds"]) for entry in logged] == [
        ("error", told, -off / 10**6)
    ]
    assert await minute(crew, clock, 20_000) == dict.fromkeys(SYMBOLS, ("TRADING", False, None))
    await minute(crew, clock, off)
    assert len(logged) == 2


async def test_a_market_that_sleeps_says_nothing_of_the_clocks(crew, clock):
    crew.synchronise(*SYMBOLS)
    await minute(crew, clock, 2 * MAX_SKEW)
    assert await minute(crew, clock) == dict.fromkeys(SYMBOLS, ("TRADING", False, None))


# The log


def test_every_kind_of_fact_has_a_text(crew, logged):
    for kind in report_module._TEXTS:
        crew.report.log_fact(Fact("BTCUSDT", kind, "this"))
    assert len(logged) == len(report_module._TEXTS)
    assert all(entry["detail"] == "this" and entry["symbol"] == "BTCUSDT" for entry in logged)


async def test_a_fact_is_logged_once_a_minute_for_each_symbol_whatever_its_details(crew, clock, logged):
    """Every tenth of a second a hole of other ids: two swapped diffs, again and again."""
    for number in range(1, 1500):
        await clock.advance(0.1)
        for symbol in SYMBOLS:
            crew.report.log_fact(Fact(symbol, "hole", f"{number * 7} to {number * 7 + 3}"))
    assert [entry["symbol"] for entry in logged] == list(SYMBOLS) * 3


def test_each_reason_to_give_a_book_up_has_a_line_of_its_own(crew, logged):
    for reason in ("crossed", "audit", "crossed", "audit"):
        crew.report.log_fact(Fact("BTCUSDT", "resync", reason))
    assert [entry["detail"] for entry in logged] == ["crossed", "audit"]


async def test_unreadable_frames_are_counted_all_and_logged_once_a_minute_and_symbol(crew, clock, logged):
    for _ in range(1200):
        await clock.advance(0.1)
        crew.report.count_unreadable(Unreadable("BTCUSDT", "no JSON", "{"))
    crew.report.count_unreadable(Unreadable(None, "no JSON", "{"))
    assert [(entry["symbol"], entry["more_since_the_last_line"]) for entry in logged] == [
        ("BTCUSDT", 0), ("BTCUSDT", 599), (None, 0),
    ]  # fmt: skip
    assert crew.samples()["crawler_frames_total", ("venue", "invalid")] == 1201


def test_each_gap_is_logged_and_counted_with_its_ids(crew, logged):
    crew.report.count(gap())
    crew.report.count(gap(first=120, last=120, reason="audit"))
    crew.report.count(gap(first=1011, last=19, reason="id_reset"))
    assert [(entry["reason"], entry["update_ids"], entry["seconds"]) for entry in logged] == [
        ("disconnect", 10, 2.5), ("audit", 1, 2.5), ("id_reset", 0, 2.5),
    ]  # fmt: skip
    samples = crew.samples()
    assert samples["crawler_gaps_total", ("venue", "BTCUSDT", "disconnect")] == 1
    assert samples["crawler_missing_updates_total", ("venue", "BTCUSDT")] == 11
    assert samples["crawler_missing_updates_total", ("venue", "ETHUSDT")] == 0
    assert crew.report.gaps == 3


# Metrics


def test_every_sample_names_the_venue_first(crew):
    crew.synchronise(*SYMBOLS)
    crew.report.count(gap())
    crew.report.count_diff(1, 2)
    assert {labels[0] for _, labels, _ in crew.report.samples()} == {"venue"}


def test_what_a_feed_has_lived_through_is_counted(crew):
    crew.synchronise(*SYMBOLS)
    feed = crew.feeds["BTCUSDT"]
    feed.receive_diff(Diff("BTCUSDT", 111, 115, 3, [], []), 1)
    feed.receive_diff(Diff("BTCUSDT", 106, 110, 2, [], []), 1)
    feed.receive_snapshot(Snapshot("BTCUSDT", 115, [["1.0", "7"]], [["2.0", "1"]], True, True))
    feed.receive_ticker(Ticker("BTCUSDT", 116, b"", lambda _: Top(["1.0", "7"], ["2.0", "1"])))
    feed.receive_diff(Diff("BTCUSDT", 116, 116, 4, [], []), 1)
    expected = {
        ("crawler_in_sync", ()): 1,
        ("crawler_trading", ()): 1,
        ("crawler_books_total", ()): 4,
        ("crawler_out_of_order_total", ()): 1,
        ("crawler_resyncs_total", ("missed_updates",)): 1,
        ("crawler_refreshes_total", ("contradiction",)): 1,
        ("crawler_audits_total", ("match",)): 1,
        ("crawler_audits_total", ("mismatch",)): 0,
        ("crawler_audits_total", ("beyond_reach",)): 0,
    }
    samples = crew.samples()
    assert {key: samples[key[0], ("venue", "BTCUSDT", *key[1])] for key in expected} == expected


def test_the_time_a_book_takes_to_this_machine_is_observed(crew):
    crew.report.count(Book("venue", "BTCUSDT", 1, 1, 1_000_000, None, 1_020_000, "one", [], [], None, None))
    latency = crew.samples()["crawler_latency_seconds", ("venue",)]
    assert (sum(latency.counts), latency.total) == (1, pytest.approx(0.02))
