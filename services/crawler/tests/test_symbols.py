import pytest
import structlog

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


def said(logged):
    """Level and symbol of each line, and empty the log."""
    lines = [(entry["log_level"], entry["symbol"]) for entry in logged]
    logged.clear()
    return lines


def test_before_the_first_list_every_symbol_is_taken_to_trade():
    board = SymbolBoard(["BTCUSDT"])
    assert board["BTCUSDT"].is_trading
    assert board.not_trading() == []
    assert board.describe() is None


def test_what_trades_is_followed_without_a_word(logged):
    board = SymbolBoard(["BTCUSDT", "ETHUSDT"])
    assert board.begin({"BTCUSDT": TRADING, "ETHUSDT": TRADING, "SOLUSDT": HALTED}, URL) == ("BTCUSDT", "ETHUSDT")
    assert board.describe() is None
    assert said(logged) == []


def test_an_unlisted_symbol_costs_no_other_one_anything(logged):
    board = SymbolBoard(["BTCUSDT", "OLDUSDT"])
    assert board.begin({"BTCUSDT": TRADING}, URL) == ("BTCUSDT",)
    assert board["OLDUSDT"] == UNLISTED
    assert board.not_trading() == ["OLDUSDT"]
    assert board.describe() == "OLDUSDT: UNLISTED"
    assert said(logged) == [("error", "OLDUSDT")]


def test_the_start_fails_only_where_no_symbol_is_listed():
    with pytest.raises(StartupError, match="lists none of AUSDT, BUSDT; correct FAIRPRICE_SYMBOLS") as refused:
        SymbolBoard(["AUSDT", "BUSDT"]).begin({"BTCUSDT": TRADING}, URL)
    assert URL in str(refused.value)


def test_a_halt_is_followed_and_told_by_the_exchange_s_own_word(logged):
    board = SymbolBoard(["BTCUSDT", "ETHUSDT"])
    assert board.begin({"BTCUSDT": TRADING, "ETHUSDT": HALTED}, URL) == ("BTCUSDT", "ETHUSDT")
    assert board.describe() == "ETHUSDT: BREAK"
    assert said(logged) == [("warning", "ETHUSDT")]


def test_each_change_is_told_once(logged):
    board = SymbolBoard(["BTCUSDT"])
    board.begin({"BTCUSDT": TRADING}, URL)
    for listed, expected in (
        ({"BTCUSDT": TRADING}, []),
        ({"BTCUSDT": HALTED}, [("warning", "BTCUSDT")]),
        ({"BTCUSDT": HALTED}, []),
        ({"BTCUSDT": TRADING}, [("info", "BTCUSDT")]),
        ({}, [("error", "BTCUSDT")]),
        ({}, []),
        ({"BTCUSDT": TRADING}, [("info", "BTCUSDT")]),
    ):
        board.update(listed)
        assert said(logged) == expected


def test_a_symbol_that_is_listed_later_is_told_and_stays_out_since_nobody_streams_it(logged):
    board = SymbolBoard(["BTCUSDT", "NEWUSDT"])
    board.begin({"BTCUSDT": TRADING}, URL)
    assert said(logged) == [("error", "NEWUSDT")]
    board.update({"BTCUSDT": TRADING, "NEWUSDT": TRADING})
    assert said(logged) == [("warning", "NEWUSDT")]
    assert board.not_trading() == ["NEWUSDT"], "so it makes nobody unready"
