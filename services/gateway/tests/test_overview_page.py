"""The table of all symbols, in a real browser and through the real gateway."""

import re
from functools import partial

import pages
import pytest
from kept_history import KeptHistory, bar
from pages import PHONE, expect, opened, until

from fairprice.errors import StoreUnavailable
from fairprice.runtime.clock import SystemClock
from gateway.key import Key
from gateway.stored.port import MINUTE

pytestmark = pages.MARKS

START = 1_723_075_200_000_000
FEW = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


@pytest.fixture
def serving(serving):
    """Return the same, where no price is stale but in tests that are about it."""
    return partial(serving, clock=SystemClock(), stale_after=3600)


def a_day(*symbols):
    """Bars of each half hour of a day that rise by a thousandth each, the later symbols faster."""
    history = KeptHistory()
    for number, symbol in enumerate(symbols):
        closes = [100.0 * (1 + number * step / 1000) for step in range(49)]
        history.bars[Key("binance", symbol)] = [
            bar(START - MINUTE - (48 - step) * 30 * MINUTE, close) for step, close in enumerate(closes)
        ]
    return history


async def publish(gateway, make, symbols=FEW, step=3600):
    await gateway.publish(*(make.price(step, name, bid=100.0 + 7 * number) for number, name in enumerate(symbols)))


def names(page):
    return page.locator("#overview-table tbody a")


async def test_a_click_opens_it_and_a_row_opens_a_symbol_and_back_goes_back(serving, make, browser):
    async with serving(history=a_day(*FEW)) as gateway:
        await publish(gateway, make)
        await gateway.publish(
            make.book(3600, "SOLUSDT", bid=114.0), make.gap(3601, "SOLUSDT"), make.depth(1, "SOLUSDT")
        )
        async with opened(browser, gateway.url) as page:
            await page.locator("#overview-open").click()
            await expect(names(page)).to_have_text(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"])
            await expect(page.locator("main")).to_be_hidden()
            row = page.locator("#overview-table tbody tr").nth(3)
            cells = [
                "SOLUSDT",
                "binance",
                "114.02",
                "\N{EN DASH}",
                "+4.41",
                "+14.02",
                "",
                "0.0032",
                "750",
                "\N{EN DASH}",
                "in sync",
            ]
            await expect(row.locator("th, td")).to_have_text([*cells, re.compile("s$"), "1"])
            await until(lambda: row.locator("path").get_attribute("d"), lambda path: path and path.count("L") > 40)
            await row.click()
            await expect(page.locator("#symbol")).to_have_text("SOLUSDT")
            await expect(page.locator("main")).to_be_visible()
            await expect(page.locator("#asks tr")).to_have_count(10)
            assert page.url.endswith("/#binance/SOLUSDT")
            await page.go_back()
            await expect(names(page).first).to_be_visible()
            await page.keyboard.press("Escape")
            await expect(page.locator("#overview")).to_be_hidden()
            await expect(page.locator("#overview-open")).to_be_focused()


SORTED = """async () => {
  const found = [];
  for (const button of document.querySelectorAll("#overview-table thead button")) {
    button.click();
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const sorted = document.querySelectorAll("[aria-sort=ascending], [aria-sort=descending]");
    found.push([...sorted].map((cell) => cell.dataset.column));
  }
  return found;
}"""


async def test_it_is_sorted_by_each_column_and_the_address_says_how(serving, make, browser):
    async with serving(history=a_day(*FEW)) as gateway:
        await publish(gateway, make)
        async with opened(browser, f"{gateway.url}/?overview") as page:
            await expect(names(page).first).to_have_text("BTCUSDT")
            await expect(page.locator("[aria-sort=ascending]")).to_have_text("Symbol")
            columns = [
                "symbol",
                "venue",
                "price",
                "1m",
                "1h",
                "24h",
                "spread",
                "depth",
                "basis",
                "state",
                "age",
                "gaps",
            ]
            assert await page.evaluate(SORTED) == [[column] for column in columns]
            await page.locator("th[data-column=price] button").focus()
            await page.keyboard.press("Enter")
            await expect(page.locator("[aria-sort=descending]")).to_have_text("Price")
            await expect(names(page)).to_have_text([*reversed(FEW)])
            await page.keyboard.press("Enter")
            await expect(names(page)).to_have_text([*FEW])
            await names(page).nth(1).hover()  # under the hand nothing moves away
            await gateway.publish(make.price(3601, FEW[0], bid=500.0))
            await expect(page.locator("td[data-column=price]").first).to_have_text("500.02")
            await expect(names(page)).to_have_text([*FEW])
            await page.mouse.move(0, 0)
            await expect(names(page)).to_have_text([*FEW[1:], FEW[0]])
            assert page.url.split("/")[-1].startswith("?overview&sort=price")
            await page.locator("#overview-text").fill("usdt binance x")
            await expect(names(page)).to_have_text(["XRPUSDT"])
            await expect(page.locator("#overview-count")).to_have_text("1 of 4 symbols")
            await page.reload()
            await expect(names(page)).to_have_text(["XRPUSDT"])
            await expect(page.locator("[aria-sort=ascending]")).to_have_text("Price")
            await page.goto(f"{gateway.url}/?overview&sort=<b>&venue=mars&text=%00")
            note = page.locator("#overview-note")
            await expect(note).to_contain_text("asks to sort by <b>, which is none of symbol, venue, price")
            await expect(note).to_contain_text("no symbol is like that: change the filter")
            await expect(page.locator("#overview-venue")).to_have_value("mars")


async def test_it_is_filtered_and_says_why_columns_of_a_store_that_is_away_are_empty(serving, make, browser):
    history = a_day(*FEW)
    history.away = StoreUnavailable("InfluxDB at http://db cannot be reached: refused")
    async with serving(history=history) as gateway:
        await publish(gateway, make)
        await gateway.publish(make.price(3600, venue="binance-usdm", bid=101.0), make.status("BREAK", "ETHUSDT"))
        async with opened(browser, f"{gateway.url}/?overview&sort=-basis", errors="503", viewport=PHONE) as page:
            await expect(names(page)).to_have_count(5)
            told = "not known: InfluxDB at http://db cannot be reached: refused; live prices are not affected"
            await expect(page.locator("#overview-note")).to_contain_text(told)
            row = page.locator("#overview-table tr", has=page.get_by_role("link", name="XRPUSDT"))
            await expect(row.locator("td[data-column='24h']")).to_have_text("\N{EN DASH}")
            await expect(row.locator("td[data-column=state]")).to_have_text("in sync")
            await page.locator("#overview-venue").select_option("binance-usdm")
            await expect(names(page)).to_have_text(["BTCUSDT"])
            await expect(page.locator("td[data-column=basis]")).to_have_text("+99.99")
            await page.locator("#overview-venue").select_option("")
            await page.locator("#overview-state").select_option("halted")
            await expect(names(page)).to_have_text(["ETHUSDT"])
            assert "state=halted" in page.url
            await page.locator("#overview-text").fill("nothing")
            await expect(page.locator("#overview-note")).to_contain_text("no symbol is like that")


async def test_arrows_go_from_row_to_row_beyond_those_that_are_drawn_and_enter_opens_one(serving, make, browser):
    async with serving() as gateway:
        await publish(gateway, make, [f"COIN{number:03}" for number in range(200)])
        async with opened(browser, f"{gateway.url}/?overview") as page:
            await expect(names(page).first).to_have_text("COIN000")
            await names(page).first.focus()
            for key in ("ArrowDown", "ArrowDown", "ArrowUp", "PageDown", "PageDown", "PageDown"):
                await page.keyboard.press(key)
            focused = await page.evaluate("document.activeElement.textContent")
            assert int(focused.removeprefix("COIN")) > 40
            await page.keyboard.press("End")
            await expect(names(page).last).to_be_focused()
            assert await names(page).last.inner_text() == "COIN199"
            assert await names(page).count() < 60
            await page.keyboard.press("Enter")
            await expect(page.locator("#symbol")).to_have_text("COIN199")


UPDATES = """async (rounds) => {
  const { takeOverview } = await import("/static/overview.js");
  const { symbols } = await (await fetch("/api/overview")).json();
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (let round = 0; round < rounds; round += 1) {
    takeOverview(symbols.map((row) => ({ ...row, price: row.price * (1 + round / 1e4) })), null);
    await frame();
  }
}"""

SCROLLING = """async (rounds) => {
  const rows = document.getElementById("overview-rows");
  let most = 0;
  for (let round = 0; round < rounds; round += 1) {
    rows.scrollTop = ((rows.scrollHeight - rows.clientHeight) * round) / (rounds - 1);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    most = Math.max(most, rows.querySelectorAll("tbody a").length);
  }
  return most;
}"""
ROUNDS = 30


async def cost(page, script):
    """Return the CPU of the tab in milliseconds a round, and what the script returns."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def spent():
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    before = await spent()
    found = await page.evaluate(script, ROUNDS)
    return (await spent() - before) * 1000 / ROUNDS, found


@pytest.mark.rounds
@pytest.mark.slow(seconds=4)
async def test_five_hundred_symbols_cost_little_more_than_fifty_and_nothing_while_it_is_closed(serving, make, browser):
    symbols = [f"COIN{number:03}" for number in range(500)]
    updates, frames = {}, {}
    for count in (50, 500):
        async with serving() as gateway:
            await publish(gateway, make, symbols[:count])
            async with opened(browser, gateway.url) as page:
                await expect(page.locator("#symbol-select option")).to_have_count(count)
                loaded = await page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
                assert [name for name in loaded if re.search("overview_|sparkline|lines", name)] == []
                await page.locator("#overview-open").click()
                await expect(page.locator("#overview-count")).to_have_text(f"{count} symbols")
                updates[count], _ = await cost(page, UPDATES)
                frames[count], drawn = await cost(page, SCROLLING)
                await expect(names(page).last).to_have_text(symbols[count - 1])
                assert drawn < 50
    told = [f"{count} symbols: {updates[count]:.1f} and {frames[count]:.1f}" for count in updates]
    print(f"milliseconds of the tab's CPU for an update and for a frame of scrolling, {', '.join(told)}")  # noqa: T201
    assert updates[500] < 4 * updates[50]
    assert frames[500] < 3 * frames[50]
