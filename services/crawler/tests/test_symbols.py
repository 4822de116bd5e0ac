import pytest
import structlog

from crawler.selection import ALL, Selection, Shard
from crawler.symbols import UNLISTED, SymbolBoard
from crawler.venues.port import SymbolStatus
from fairprice.errors import StartupError

TRADING = SymbolStatus(is_trading=True, word="TRADING")
HALTED = SymbolStatus(is_trading=False, word="BREAK")
URL = "https://exchange.example"


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


def board_of(texts, shard=ALL):
    return SymbolBoard(Selection(texts, shard))


def said(logged):
    """Level and symbol of each line, and empty the log."""
    lines = [(entry["log_level"], entry["symbol"]) for entry in logged]
    logged.clear()
    return lines


def test_before_the_first_list_every_symbol_is_taken_to_trade():
    board = board_of(["BTCUSDT"])
    assert board["BTCUSDT"].is_trading
    assert board.not_trading() == []
    assert board.describe() is None


def test_what_trades_is_followed_without_a_word(logged):
    board = board_of(["BTCUSDT", "ETHUSDT"])
    assert board.begin({"BTCUSDT": TRADING, "ETHUSDT": TRADING, "SOLUSDT": HALTED}, URL) == (("BTCUSDT", "ETHUSDT"), ())
    assert board.describe() is None
    assert said(logged) == []


def test_an_unlisted_symbol_costs_no_other_one_anything(logged):
    board = board_of(["BTCUSDT", "OLDUSDT"])
    assert board.begin({"BTCUSDT": TRADING}, URL) == (("BTCUSDT",), ())
    assert board["OLDUSDT"] == UNLISTED
    assert board.not_trading() == ["OLDUSDT"]
    assert board.describe() == "OLDUSDT: UNLISTED"
    assert said(logged) == [("error", "OLDUSDT")]


def test_the_start_fails_only_where_no_symbol_is_listed():
    with pytest.raises(StartupError, match="lists none of AUSDT, BUSDT; correct FAIRPRICE_SYMBOLS") as refused:
        board_of(["AUSDT", "BUSDT"]).begin({"BTCUSDT": TRADING}, URL)
    assert URL in str(refused.value)


def test_a_halt_is_followed_and_told_by_the_exchange_s_own_word(logged):
    board = board_of(["BTCUSDT", "ETHUSDT"])
    assert board.begin({"BTCUSDT": TRADING, "ETHUSDT": HALTED}, URL) == (("BTCUSDT", "ETHUSDT"), ())
    assert board.describe() == "ETHUSDT: BREAK"
    assert said(logged) == [("warning", "ETHUSDT")]


def test_each_change_is_told_once(logged):
    board = board_of(["BTCUSDT"])
    board.begin({"BTCUSDT": TRADING}, URL)
    for listed, expected in (
        ({"BTCUSDT": TRADING}, []),
        ({"BTCUSDT": HALTED}, [("warning", "BTCUSDT")]),
        ({"BTCUSDT": HALTED}, []),
        ({"BTCUSDT": TRADING}, [("info", "BTCUSDT")]),
        ({}, [("warning", "BTCUSDT")]),
        ({}, []),
        ({"BTCUSDT": TRADING}, [("info", "BTCUSDT")]),
    ):
        board.update(listed)
        assert said(logged) == expected


# Symbols that come and go


def test_a_symbol_that_is_listed_later_is_followed_from_then_on():
    board = board_of(["BTCUSDT", "NEWUSDT"])
    board.begin({"BTCUSDT": TRADING}, URL)
    assert (board.followed, board.unfollowed) == (("BTCUSDT",), ("NEWUSDT",))
    assert board.update({"BTCUSDT": TRADING, "NEWUSDT": TRADING}) == (("NEWUSDT",), ())
    assert board.followed == ("BTCUSDT", "NEWUSDT")
    assert board.not_trading() == []


def test_a_symbol_that_two_lists_in_a_row_lack_is_let_go():
    board = board_of(["*USDT"])
    both = {"BTCUSDT": TRADING, "OLDUSDT": TRADING}
    board.begin(both, URL)
    assert board.update({"BTCUSDT": TRADING}) == ((), ())
    assert board.describe() == "OLDUSDT: UNLISTED"
    assert board.update(both) == ((), ())
    assert board.update({"BTCUSDT": TRADING}) == ((), ())
    assert board.update({"BTCUSDT": TRADING}) == ((), ("OLDUSDT",))
    assert (board.followed, board.describe()) == (("BTCUSDT",), None)
    assert board.update(both) == (("OLDUSDT",), ()), "it is listed again"


def test_one_that_was_named_stays_on_the_board_though_it_is_let_go():
    board = board_of(["BTCUSDT", "OLDUSDT"])
    board.begin({"BTCUSDT": TRADING, "OLDUSDT": TRADING}, URL)
    for _ in range(3):
        board.update({"BTCUSDT": TRADING})
    assert (board.followed, board.describe()) == (("BTCUSDT",), "OLDUSDT: UNLISTED")


def test_a_rename_is_one_that_goes_and_one_that_comes():
    board = board_of(["*USDT"])
    board.begin({"BTCUSDT": TRADING, "MATICUSDT": TRADING}, URL)
    renamed = {"BTCUSDT": TRADING, "POLUSDT": TRADING}
    assert board.update(renamed) == (("POLUSDT",), ())
    assert board.update(renamed) == ((), ("MATICUSDT",))


def test_a_pattern_takes_what_trades_and_keeps_what_halts():
    board = board_of(["*USDT"])
    assert board.begin({"BTCUSDT": TRADING, "OLDUSDT": HALTED}, URL) == (("BTCUSDT",), ())
    assert board.update({"BTCUSDT": HALTED, "OLDUSDT": TRADING}) == (("OLDUSDT",), ())
    assert board.followed == ("BTCUSDT", "OLDUSDT")


def test_a_share_without_symbols_waits_for_one(logged):
    symbol, other = "BTCUSDT", next(name for name in ("AUSDT", "BUSDT", "CUSDT") if not Shard(1, 2).owns(name))
    shard = Shard(1, 2) if Shard(1, 2).owns(symbol) else Shard(2, 2)
    assert board_of([symbol], shard).begin({symbol: TRADING}, URL) == ((symbol,), ())
    empty = board_of(["*USDT"], Shard(1, 2))
    assert empty.begin({other: TRADING}, URL) == ((), ())
    assert "nothing to do" in logged[-1]["event"]
