"""A market that is a copy lives on as the one that was opened anew would."""

from markets import opened

from simulator.exchange import Exchange
from simulator.instruments import instrument_of
from simulator.market import Market

OPENING = (instrument_of("BTCUSDT"), 7, 1_789_000_000_000_000)


def test_a_copy_lives_the_life_of_the_original_and_leaves_the_next_copy_alone():
    original, first, second = Market(*OPENING), opened(*OPENING), opened(*OPENING)
    for market in (original, first):
        for _ in range(200):
            market.step()
    assert (first.levels, first.bids, first.asks) == (original.levels, original.bids, original.asks)
    assert (first.last_id, first.now_us, first.random.random()) == (
        original.last_id,
        original.now_us,
        original.random.random(),
    )
    assert second.levels == Market(*OPENING).levels != first.levels


def test_exchanges_of_the_same_seed_share_nothing_that_moves():
    first, second = Exchange(), Exchange()
    first.frames(first.now_us + 1_000_000)
    assert first.update_ids() != second.update_ids()
