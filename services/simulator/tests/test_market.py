from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

import simulator.market
from simulator.instruments import CATALOGUE, Instrument, instrument_of
from simulator.market import STEP_US, Market

START = 1_789_000_000_000_000
SYMBOLS = [*CATALOGUE, "XRPUSDT", "ADABTC", "WEIRD"]


def lived(symbol="BTCUSDT", seed=1, steps=300):
    market = Market(instrument_of(symbol), seed, START)
    for _ in range(steps):
        market.step()
    return market


@pytest.mark.slow
@given(seed=st.integers(0, 2**63), symbol=st.sampled_from(SYMBOLS))
@settings(max_examples=10)
def test_the_book_is_never_crossed_and_stays_sorted_positive_and_on_its_grid(seed, symbol):
    market = Market(instrument_of(symbol), seed, START)
    last = market.last_id
    for _ in range(100):
        market.step()
        bid, ask = market.top()
        assert 0 < bid < ask
        assert market.last_id >= last
        last = market.last_id
    assert market.bids == sorted(key for key in market.levels if key > 0)
    assert market.asks == sorted(key for key in market.levels if key < 0)
    assert all(type(key) is int and type(quantity) is int and quantity > 0 for key, quantity in market.levels.items())


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_no_atomic_change_ever_crosses_the_book(seed):
    market = lived(seed=seed, steps=0)
    before = market.last_id
    for _ in range(40):
        market.step()
    for update_id in range(before, market.last_id, 7):
        levels = market.levels_at(update_id)
        assert max(key for key in levels if key > 0) < min(-key for key in levels if key < 0)


@each_row("symbol", SYMBOLS)
def test_prices_and_quantities_are_written_with_eight_decimals_on_tick_and_step(symbol):
    instrument = instrument_of(symbol)
    tick, step = Decimal(instrument.tick) / 10**8, Decimal(instrument.step) / 10**8
    for number in (1, 7, instrument.price, 10**9 + 1):
        assert Decimal(instrument.price_text(number)) == tick * number
        assert Decimal(instrument.quantity_text(number)) == step * number
        assert len(instrument.price_text(number).partition(".")[2]) == 8


def test_ids_begin_beyond_32_bits_and_every_atomic_change_takes_one():
    market = lived(steps=0)
    assert market.last_id > 2**33
    first = market.last_id
    market.step()
    assert len(market.keys_changed(first + 1, market.last_id)) <= market.last_id - first


def test_the_same_seed_gives_the_same_market_and_another_seed_another():
    one, same, other = lived(seed=5), lived(seed=5), lived(seed=6)
    assert (one.levels, one.last_id) == (same.levels, same.last_id)
    assert one.levels != other.levels


def test_the_book_is_deeper_than_the_deepest_snapshot_and_stays_so():
    market = lived(steps=3000)
    assert len(market.bids) > 5000
    assert len(market.asks) > 5000


def test_the_spread_is_one_tick_most_of_the_time_and_tens_of_levels_change_in_100_ms():
    market = lived(steps=0)
    spreads, changes, before = [], [], market.last_id
    for step in range(1, 6001):
        market.step()
        bid, ask = market.top()
        spreads.append(ask - bid)
        if step % 10 == 0:
            changes.append((market.last_id - before, len(market.keys_changed(before + 1, market.last_id) - {0})))
            before = market.last_id
    assert spreads.count(1) > len(spreads) * 0.6
    assert max(spreads) > 1
    assert 15 < sum(levels for _, levels in changes) / len(changes) < 90
    assert sum(ids > levels for ids, levels in changes) > len(changes) * 0.8


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.rounds) for seed in (2, 3))])
def test_the_price_moves_visibly_in_a_minute_and_leaves_a_snapshot_of_1000_levels_within_ten(seed):
    market = lived(seed=seed, steps=0)
    lowest, highest = market.bids[-1000], -market.asks[-1000]
    prices, left = [], False
    for step in range(60_000):
        market.step()
        bid, ask = market.top()
        left = left or bid < lowest or ask > highest
        if step < 6000:
            prices.append(bid)
        elif left:
            break
    assert max(prices) / min(prices) - 1 > 0.0003
    assert left


@pytest.mark.slow
def test_the_price_is_volatile_in_clusters():
    market = lived(steps=0)
    prices = []
    for _ in range(200):
        for _ in range(100):
            market.step()
        prices.append(sum(market.top()))
    moves = [abs(b / a - 1) for a, b in pairwise(prices)]
    halves = sorted(sum(moves[start : start + 20]) for start in range(0, 180, 20))
    assert halves[-1] > 1.5 * halves[0]


def test_a_thin_symbol_is_silent_for_long_and_a_halted_one_for_ever():
    thin, halted = lived("DUSTUSDT", steps=0), lived("HALTUSDT", steps=0)
    silence = longest = 0
    for _ in range(60_000):
        before = thin.last_id
        thin.step()
        silence = silence + 1 if thin.last_id == before else 0
        longest = max(longest, silence)
    first = halted.last_id
    for _ in range(1000):
        halted.step()
    assert longest * STEP_US > 20_000_000
    assert thin.last_id > thin.oldest_id
    assert halted.last_id == first


def test_the_past_is_kept_for_ten_minutes_and_no_longer(monkeypatch):
    assert simulator.market.HISTORY_STEPS * STEP_US >= 600_000_000
    monkeypatch.setattr(simulator.market, "HISTORY_STEPS", 300)
    market = lived("BNBUSDT", steps=400)
    assert market.levels_at(market.id_at(market.now_us - 300 * STEP_US))
    assert len(market._step_ends) <= 375
    with pytest.raises(LookupError, match=r"ids from \d+ to \d+ are"):
        market.levels_at(market.oldest_id - 1)
    with pytest.raises(LookupError, match="not known"):
        market.levels_at(market.last_id + 1)


def test_the_book_of_the_past_is_the_book_that_was():
    market = lived(steps=50)
    then, levels = market.last_id, dict(market.levels)
    for _ in range(500):
        market.step()
    assert market.levels_at(then) == levels
    assert market.levels_at(market.last_id) == market.levels


@pytest.mark.parametrize("symbol", ["XRPUSDT", "ADABTC", "DOGEEUR", "A", "币安USDT"])
def test_any_other_symbol_gets_plausible_parameters_from_its_name(symbol):
    instrument = instrument_of(symbol)
    assert instrument == instrument_of(symbol)
    assert instrument.base + instrument.quote == symbol or not symbol.endswith(instrument.quote)
    assert lived(symbol, steps=20).levels


def test_a_symbol_of_a_few_ticks_has_no_bid_at_or_below_zero():
    instrument = Instrument("CENTUSDT", "CENT", "USDT", 40, 10_000, 10_000_000, 500, 1.0, levels=300)
    market = Market(instrument, 1, START)
    assert 0 < len(market.bids) <= 40 < len(market.asks)
    for _ in range(500):
        market.step()
        bid, ask = market.top()
        assert 0 < market.bids[0] <= bid < ask
        assert market.levels.keys() == {*market.bids, *market.asks}
