"""Two ways to one best bid and ask that contradict each other for a second are told, until they agree."""

import pytest

from gateway.dispute import BOUND, PATIENCE, Dispute, Top

RECORD = Top(10_000.0, 10_001.0)
BEYOND = BOUND + 0.1


def moved(bid=0.0, ask=0.0):
    """Return a top whose sides lie so many basis points from those of the record."""
    return Top(RECORD.bid * (1 + bid * 1e-4), RECORD.ask * (1 + ask * 1e-4))


def disputed(*looks, at):
    dispute = Dispute()
    for now, live in looks:
        dispute.compare(live, RECORD, now)
    return dispute.is_open(at)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (RECORD, False), (moved(BOUND - 0.1, 0.1 - BOUND), False),
        (moved(bid=BEYOND), True), (moved(ask=-BEYOND), True),
        (Top(None, RECORD.ask), True), (Top(RECORD.bid, None), True),
    ],
)  # fmt: skip
def test_either_side_may_differ_by_the_bound(live, expected):
    assert disputed((0.0, live), at=PATIENCE) is expected


def test_what_neither_has_is_no_difference():
    dispute = Dispute()
    dispute.compare(Top(1.0, None), Top(1.0, None), 0.0)
    assert not dispute.is_open(PATIENCE)


def test_a_difference_counts_after_a_second_in_which_they_have_never_agreed():
    far = moved(BEYOND, BEYOND)
    assert not disputed((0.0, far), at=PATIENCE - 0.01)
    assert disputed((0.0, far), (0.9, moved(-BEYOND)), at=PATIENCE)
    assert not disputed((0.0, far), (0.5, RECORD), (0.6, far), at=PATIENCE + 0.5)
    assert disputed((0.0, far), (0.5, RECORD), (0.6, far), at=PATIENCE + 0.6)


async def states(gateway):
    _, price = await gateway.get("/api/prices/BTCUSDT")
    async with gateway.http.get(f"{gateway.url}/metrics") as answer:
        (metric,) = [
            line for line in (await answer.text()).splitlines() if line.startswith("fairprice_gateway_disputed")
        ]
    return price["feed"]["state"], price["live"]["disputed"], float(metric.split()[-1])


async def test_the_gateway_trusts_neither_until_they_agree(gateway, make):
    await gateway.publish(make.price(1))
    await gateway.clock.advance(0.1)
    for ahead in range(1, 4):
        await gateway.publish(make.live(1, bid=61_000.0, ahead=ahead))
        assert await states(gateway) == ("live", False, 0)
        await gateway.clock.advance(0.4)
    await gateway.publish(make.live(1, bid=61_000.0, ahead=4))
    assert await states(gateway) == ("disputed", True, 1)
    await gateway.publish(make.price(2, bid=61_000.0))
    assert await states(gateway) == ("live", False, 0)


async def test_a_live_view_that_ends_disputes_nothing(gateway, make):
    await gateway.publish(make.price(1), make.live(1, bid=61_000.0))
    await gateway.clock.advance(1.5)
    await gateway.publish(make.price(2))
    assert await states(gateway) == ("live", False, 0)


async def test_the_last_good_price_is_none_that_was_disputed(gateway, make):
    await gateway.publish(make.price(1), make.live(1, bid=61_000.0))
    await gateway.clock.advance(1.0)
    await gateway.publish(make.live(1, bid=61_000.0, ahead=9), make.price(2))
    _, price = await gateway.get("/api/prices/BTCUSDT")
    assert price["feed"]["last_good_price"] == make.price(1).price


async def test_listeners_are_told_when_a_dispute_begins_and_ends(gateway, make):
    await gateway.publish(make.price(1), make.live(1, bid=61_000.0))
    async with gateway.listen() as socket:
        await gateway.clock.advance(1.0)
        await gateway.publish(make.live(1, bid=61_000.0, ahead=9))
        await gateway.beat()
        await gateway.publish(make.price(2, bid=61_000.0))
        await gateway.beat()
        seen = []
        while seen[-2:] != ["disputed", "live"]:
            frame = await socket.receive_json()
            if frame["type"] == "feed":
                seen.append(frame["state"])
