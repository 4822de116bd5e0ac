from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from crawler.selection import Selection, Shard
from crawler.venues.port import SymbolStatus

TRADING = SymbolStatus(is_trading=True, word="TRADING")
HALTED = SymbolStatus(is_trading=False, word="BREAK")
LISTED = dict.fromkeys(["BTCUSDT", "ETHUSDT", "ETHBTC", "BTCUPUSDT", "BTCEUR", "币安人生USDT"], TRADING)

symbols = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=5, max_size=12)


@each_row(
    ("texts", "chosen"),
    [
        (["BTCUSDT"], ["BTCUSDT"]),
        (["ETHUSDT", "BTCUSDT"], ["ETHUSDT", "BTCUSDT"]),
        (["NOTLISTED"], ["NOTLISTED"]),
        (["*USDT"], ["BTCUSDT", "ETHUSDT", "BTCUPUSDT", "币安人生USDT"]),
        (["*USDT", "!*UPUSDT"], ["BTCUSDT", "ETHUSDT", "币安人生USDT"]),
        (["!*UPUSDT", "*USDT"], ["BTCUSDT", "ETHUSDT", "币安人生USDT"]),
        (["BTCUPUSDT", "*USDT", "!*UPUSDT"], ["BTCUPUSDT", "BTCUSDT", "ETHUSDT", "币安人生USDT"]),
        (["BTC*"], ["BTCUSDT", "BTCUPUSDT", "BTCEUR"]),
        (["ETH?TC", "BTCE*"], ["ETHBTC", "BTCEUR"]),
        (["*", "!*USDT", "!ETH*"], ["BTCEUR"]),
        (["ETH*", "!ETHBTC"], ["ETHUSDT"]),
        (["ETHBTC", "ETH*"], ["ETHBTC", "ETHUSDT"]),
    ],
)
def test_names_come_first_and_patterns_in_the_order_of_the_list(texts, chosen):
    assert list(Selection(texts).choose(LISTED)) == chosen


def test_a_selection_is_told_as_it_was_written():
    assert str(Selection(["BTCUSDT", "*EUR", "!X*"], Shard(1, 2))) == "BTCUSDT, *EUR, !X*"


def test_what_does_not_trade_is_chosen_by_its_name_or_while_it_is_followed():
    listed = LISTED | {"ETHUSDT": HALTED}
    assert Selection(["ETH*"]).choose(listed) == ("ETHBTC",)
    assert Selection(["ETHUSDT"]).choose(listed) == ("ETHUSDT",)
    assert Selection(["ETH*"]).choose(listed, followed=["ETHUSDT"]) == ("ETHUSDT", "ETHBTC")


@given(symbols, st.integers(1, 12))
def test_a_symbol_is_of_exactly_one_share(symbol, shares):
    assert sum(Shard(number, shares).owns(symbol) for number in range(1, shares + 1)) == 1


@given(symbols, st.integers(1, 12))
def test_one_more_share_takes_symbols_and_moves_none_between_the_others(symbol, shares):
    def owner(count):
        return next(number for number in range(1, count + 1) if Shard(number, count).owns(symbol))

    assert owner(shares + 1) in {owner(shares), shares + 1}


def test_shares_are_even():
    many = [f"S{number}USDT" for number in range(2000)]
    sizes = Counter(next(number for number in range(1, 5) if Shard(number, 4).owns(symbol)) for symbol in many)
    assert all(400 < size < 600 for size in sizes.values())


def test_a_share_is_of_names_and_patterns_alike():
    many = dict.fromkeys((f"S{number}USDT" for number in range(100)), TRADING)
    by_pattern = [Selection(["*"], Shard(number, 3)).choose(many) for number in (1, 2, 3)]
    by_name = [Selection(many, Shard(number, 3)).names for number in (1, 2, 3)]
    assert by_pattern == by_name
    assert sorted(symbol for share in by_name for symbol in share) == sorted(many)
    assert Selection(many, Shard(2, 3)).without_shard().names == tuple(many)


def test_a_share_does_not_depend_on_the_machine():
    assert [Shard(number, 4).owns("BTCUSDT") for number in (1, 2, 3, 4)] == [False, True, False, False]
