"""What somebody types into the address, and a gateway that is full: the page has a sentence for each."""

from functools import partial

import pages
import pytest
from kept_history import KeptHistory, bar
from pages import expect, opened

from fairprice.runtime.clock import SystemClock
from gateway.key import Key
from gateway.stored.port import MINUTE

pytestmark = pages.MARKS

START = 1_723_075_200_000_000


@pytest.fixture
def serving(serving):
    """Return the same with an hour of bars, where no price is stale."""
    bars = [bar(START - MINUTE * (60 - minute), 61_000.0) for minute in range(60)]
    history = KeptHistory(*bars, key=Key("binance", "BTCUSDT"))
    return partial(serving, clock=SystemClock(), stale_after=3600, history=history)


async def test_every_address_that_somebody_typed_gets_a_sentence(serving, make, browser):
    async with serving() as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, gateway.url, errors="status of 40") as page:
            await page.goto("about:blank")
            await page.goto(f"{gateway.url}/#%E0%A4%A")
            await expect(page.locator("#empty-words")).to_have_text("Waiting for the first price of %E0%A4%A")
            for typed, selector, sentence in (
                ("binance/BTCUSDT?range=1h&to=2031-01-01T00:00:00Z", "#chart-note", "begins after the newest price"),
                ("binance/BTCUSDT?range=1h&to=1999-01-01T00:00:00Z", "#chart-note", "has no price of binance/BTCUSDT"),
                ("binance/BTCUSDT?range=900d", "#chart-note", "the range 900d, which is none: write 5s to 366d"),
                (f"a%2Fb/c%2F{'d' * 3000}", "#empty-words", f"Waiting for the first price of C{'D' * 63}"),
                ("?&&=", "#price-main", "61,837"),
            ):
                await page.evaluate("(typed) => { location.hash = typed }", typed)
                await expect(page.locator(selector)).to_contain_text(sentence)
                await expect(page.locator("#feed-words")).to_have_text("waiting" if "empty" in selector else "in sync")


async def test_a_gateway_that_is_full_says_so_on_the_page_and_lets_it_in_later(serving, make, browser):
    async with serving(limits={"max_listeners": 1}) as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, gateway.url, errors="503") as page:
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            async with opened(browser, gateway.url, errors="50") as other:
                await expect(other.locator("#problems")).to_contain_text("as many listeners as it takes")
                await page.close()
                await expect(other.locator("#feed-words")).to_have_text("in sync")
                await expect(other.locator("#health")).to_be_hidden()
