"""What the page costs whoever leaves it open: processor, memory and drawings, measured in Chromium and printed."""

import re

import pytest
from pages import MARKS, expect, opened

from fairprice.runtime.clock import SystemClock

pytestmark = MARKS

UPDATES = 300
MOST_GROWTH = 1.0
"""Megabytes in `UPDATES`, the points of the chart among them, of which there are so many at most."""

DRAWN = """
window.frame = 0;
window.drawn = {}; // canvas -> how often in each frame
window.hides = false;
Object.defineProperty(document, "hidden", { get: () => window.hides });
const count = () => { window.frame += 1; requestAnimationFrame(count); };
requestAnimationFrame(count);
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...area) {
  const name = this.canvas.closest(".chart-pane") ? "pane" : "price";
  const mine = (window.drawn[name] ??= {});
  mine[window.frame] = (mine[window.frame] ?? 0) + 1;
  clear.apply(this, area);
};
"""
COUNTS = "Object.values(window.drawn).map((frames) => Object.values(frames))"


async def drive(gateway, make, page, first, count):
    """Publish updates of the exchange, each as soon as the page shows the one before."""
    shown = page.locator("#update-id")
    for step in range(first, first + count):
        bid = 61_000 + step % 40
        await gateway.publish(make.book(step, bid=bid), make.price(step, bid=bid), make.live(step, bid=bid))
        await expect(shown).to_have_text(f"{20 * step + 24:,}")


async def test_the_chart_is_drawn_once_a_frame_at_most_and_never_in_a_background_tab(serving, make, browser):
    async with serving(clock=SystemClock(), stale_after=3600) as gateway:
        await gateway.publish(make.book(0), make.price(0))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=5s", script=DRAWN) as page:
            await expect(page.locator("#chart")).to_have_attribute("data-update-id", re.compile("."))
            await drive(gateway, make, page, 1, 10)
            await page.locator("#chart").focus()
            for key in ("-", "ArrowLeft", "ArrowLeft", "End", "+"):
                await page.keyboard.press(key)
            await drive(gateway, make, page, 11, 10)
            drawn = await page.evaluate(COUNTS)
            assert len(drawn) == 2
            assert all(max(counts) == 1 and len(counts) > 15 for counts in drawn), drawn
            await page.evaluate("window.hides = true; window.drawn = {}")
            await gateway.publish(make.book(40, bid=62_345.0), make.price(40, bid=62_345.0))
            await expect(page).to_have_title(re.compile(r"^62,345\.02"))
            assert await page.evaluate("window.drawn") == {}
            await page.evaluate("window.hides = false; document.dispatchEvent(new Event('visibilitychange'))")
            await expect(page.locator("#price-main")).to_have_text(re.compile(r"^62,345"))


async def test_the_page_weighs_less_than_200_kilobytes_compressed(serving, make, browser, capsys):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#chart")).to_have_attribute("data-update-id", re.compile("."))
            loaded = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/static/'))"
            sizes = await page.evaluate(f"{loaded}.map(({{ encodedBodySize }}) => encodedBodySize)")
            assert len(sizes) > 10
            with capsys.disabled():
                print(f"\nthe page weighs {sum(sizes) / 1000:.0f} KB compressed")
            assert sum(sizes) < 200_000


@pytest.mark.rounds
async def test_what_an_update_costs_is_told_and_the_memory_stays_flat(serving, make, browser, capsys):
    async with serving(clock=SystemClock(), stale_after=3600) as gateway:
        await gateway.publish(*(make.price(step, bid=61_000 + step % 40) for step in range(3000)), make.book(2999))
        async with opened(browser, gateway.url) as page:
            session = await page.context.new_cdp_session(page)
            await session.send("Performance.enable")

            async def metrics():
                await session.send("HeapProfiler.collectGarbage")
                found = (await session.send("Performance.getMetrics"))["metrics"]
                return {each["name"]: each["value"] for each in found}

            await drive(gateway, make, page, 3000, UPDATES)
            before = await metrics()
            await drive(gateway, make, page, 3000 + UPDATES, UPDATES)
            after = await metrics()
            busy = (after["ThreadTime"] - before["ThreadTime"]) / UPDATES
            grown = (after["JSHeapUsedSize"] - before["JSHeapUsedSize"]) / 1e6
            with capsys.disabled():
                print(f"\n{busy * 1000:.1f} ms of CPU an update, the heap grew by {grown:.2f} MB in {UPDATES} of them")
            assert grown < MOST_GROWTH
