"""The page for everyone: what axe-core finds, the keyboard, and what moves."""

from pathlib import Path

import pytest
from pages import MARKS, PHONE, expect, opened

from fairprice.runtime.clock import SystemClock

AXE = Path(__file__).parent / "axe_core" / "axe.min.js"
VIOLATIONS = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
  ({ id, nodes }) => [id, ...nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)])"""

pytestmark = MARKS


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.rounds)])
async def test_axe_finds_no_violation(serving, make, browser, scheme):
    async with serving(clock=SystemClock(), stale_after=3600) as gateway:
        names = ["BTCUSDT", "ETHUSDT", *(f"COIN{number}" for number in range(8))]
        await gateway.publish(*(make.price(1, name) for name in names), make.book(1), make.depth(1), make.gap(1))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT", color_scheme=scheme) as page:
            await page.evaluate(AXE.read_text())
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            await expect(page.locator("#whole tr")).to_have_count(1)
            assert (found := await page.evaluate(VIOLATIONS)) == [], found
            await page.locator("#notify-open").click()
            assert (found := await page.evaluate(VIOLATIONS)) == [], found
            await page.keyboard.press("Escape")
            await page.locator("#overview-open").click()
            await expect(page.locator("#overview-table tbody th").first).to_be_visible()
            assert (found := await page.evaluate(VIOLATIONS)) == [], found
            await page.locator("#overview-close").click()
            await gateway.publish(make.price(2, status="crossed"))
            await expect(page.locator("#feed-words")).to_have_text("not trusted")
            await page.set_viewport_size(PHONE)
            assert (found := await page.evaluate(VIOLATIONS)) == [], found


FOCUSED = """() => {
  const { id, dataset, textContent } = document.activeElement;
  const { outlineStyle } = getComputedStyle(document.activeElement);
  return { name: id || dataset.style || dataset.minutes || textContent, isSeen: outlineStyle !== "none" };
}"""


async def test_every_control_is_reached_by_the_keyboard_and_seen_to_be(serving, make, browser):
    async with serving(clock=SystemClock(), stale_after=3600) as gateway:
        await gateway.publish(make.book(1), make.price(1), make.price(1, "ETHUSDT"))
        async with opened(browser, gateway.url, reduced_motion="reduce") as page:
            await expect(page.locator("#symbols button")).to_have_count(2)
            controls = page.locator(":is(button, a[href], input, select):visible, #chart")
            focused = []
            for _ in range(await controls.count()):
                await page.keyboard.press("Tab")
                focused.append(await page.evaluate(FOCUSED))
            assert all(each["isSeen"] for each in focused), focused
            names = {each["name"] for each in focused}
            assert {"notify-open", "theme", "candles", "zone", "1440", "chart", "download", "about-open"} <= names
            price = "getComputedStyle(document.getElementById('price'))"
            assert await page.evaluate(f"[document.getAnimations().length, {price}.transitionDuration]") == [0, "0s"]
