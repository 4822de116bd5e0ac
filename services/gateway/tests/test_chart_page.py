"""The chart in a real browser: candles, crosshair, zones of time, and the pure functions that it is made of."""

import re

import kept_history
from pages import MARKS, PHONE, expect, opened, until

from fairprice.runtime.clock import SystemClock
from gateway.key import Key
from gateway.stored.port import MINUTE

START = 1_723_075_200_000_000
BTC = Key("binance", "BTCUSDT")
CHART = "document.getElementById('chart').dataset"

pytestmark = MARKS


def an_hour():
    """Bars of the hour before `START`, of which the last minutes were not compared with the exchange."""
    begin = START - 60 * MINUTE
    bars = [kept_history.bar(begin + number * MINUTE, 61_000 + number) for number in range(60)]
    history = kept_history.KeptHistory(*bars, key=BTC)
    history.of_compared = [kept_history.compared(bar.time) for bar in bars[:50]]
    return history


IMPORTS = """
const modules = ["candles", "heat", "notices", "pane", "voice"].map((name) => import(`./static/${name}.js`));
const [{ candles, stepOf }, { Heat }, { whereabouts }, { means }, { Voice }] = await Promise.all(modules);
"""

CANDLES = """
const row = (time, price, open = price, length = 0, verdict = null) => (
  { time, length, verdict, open, price, top: Math.max(open, price), bottom: Math.min(open, price) });
const rows = [row(0, 5), row(400, 8), row(900, 6), row(1100, null), row(1200, 7), row(2000, 9, 6, 2000, "hole")];
return candles(rows, 1000).map((each) => Object.values(each));
"""
STEPS = """
const bars = [{ time: 60_000, length: 60_000 }];
const step = (from, to, rows) => stepOf(from * 1000, to * 1000, 700, rows);
return [[0, 60], [0, 3600], [3600, 7200]].map(([from, to]) => [[], bars].map((rows) => step(from, to, rows)));
"""
MEANS = """
const columns = means([0, 1, 2, 9, 12], [1, 0, -0.25, null, 0.5], (time) => Math.floor(time / 3));
return columns.map(({ column, mean }) => [column, mean]);
"""
HEAT = """
const sums = { bid_quantity_1bps: 4, bid_quantity_3bps: 6, ask_quantity_1bps: 2, ask_quantity_500bps: null };
const heat = new Heat();
for (const [time, mid] of [[1e6, 10_000], [3e6, null], [500_000, 10_000]]) heat.add({ event_time: time, ...sums }, mid);
return heat.cells(0, 9e9, 0, 9e9).map((cell) => Object.values(cell));
"""
VOICE = """
const voice = new Voice();
const told = [["good", "1", 0], ["good", "2", 59], ["good", "2", 60]];
told.push(["bad", "", 66], ["good", "3", 70], ["good", "4", 71]);
return told.map((each) => voice.next(...each));
"""
PLACES = """
const seen = [[1, null], [3, null], [5, null], [null, null], [3, "stale"]];
return seen.map(([price, alarm]) => whereabouts({ low: 2, high: 4 }, price, alarm));
"""


async def test_what_the_page_is_made_of_is_right(serving, browser):
    async with serving(clock=SystemClock(), expected=[BTC]) as gateway, opened(browser, gateway.url) as page:

        async def run(code):
            return await page.evaluate(f"async () => {{ {IMPORTS} {code} }}")

        ends = [[0, 1000, 5, 8, 5, 6, False], [1000, 1000, 7, 7, 7, 7, False], [2000, 2000, 6, 9, 6, 9, True]]
        assert await run(CANDLES) == ends, "what is finer is put together, what is longer stays as it is"
        assert await run(STEPS) == [[1000, 60_000], [60_000, 60_000], [60_000, 60_000]], "no bar is longer than a step"
        assert await run(MEANS) == [[0, 0.25], [1, -0.25], [2, -0.25], [4, 0.5]], "a value holds until the next time"
        layers = [[9999, 10_000, 1], [9997, 9999, 0.25], [10_000, 10_001, 0.5]]
        assert await run(HEAT) == [[1000, 21_000, *layer] for layer in layers], "quantity a basis point; no older one"
        assert await run(VOICE) == ["good, 1", None, "good, 2", "bad", None, "good, 4"], (
            "a change alone, and not at once"
        )
        assert await run(PLACES) == ["below", "within", "above", None, "lost"]


async def test_candles_are_drawn_by_choice_and_the_address_keeps_it(serving, make, browser):
    async with serving(clock=SystemClock(), history=an_hour()) as gateway:
        await gateway.publish(make.book(1), make.price(1, bid=61_060.0))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h") as page:
            await until(lambda: page.evaluate(f"Number({CHART}.points)"), lambda count: count >= 60)
            assert await page.evaluate(f"{CHART}.candles") == "0"
            await page.get_by_role("button", name="Candles").click()
            await until(lambda: page.evaluate(f"Number({CHART}.candles)"), lambda count: count >= 60)
            assert page.url.endswith("?range=1h&style=candles")
            await page.reload()
            await until(lambda: page.evaluate(f"Number({CHART}.candles)"), lambda count: count >= 60)
            await expect(page.get_by_role("button", name="Candles")).to_have_attribute("aria-pressed", "true")
            box = await page.locator(".chart-price .u-over").bounding_box()
            await page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
            tip = page.locator(".chart-tip")
            ends = r"^2024-08-07 23:5\d:00.0 UTC *open 61,05\d.00 *high 61,05\d.00"
            await expect(tip).to_contain_text(re.compile(ends))
            await expect(tip).to_contain_text("not verified")


async def test_the_pointer_tells_exact_values_and_the_viewer_chooses_whose_time(serving, make, browser):
    zone = {"timezone_id": "Asia/Kolkata"}
    async with serving(clock=SystemClock(), expected=[BTC]) as gateway:
        await gateway.publish(*(make.price(step, bid=61_000.0, imbalance=0.25) for step in range(300)), make.depth(299))
        await gateway.publish(make.book(300), make.price(300, bid=61_000.0, imbalance=0.25))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=10s", **zone) as page:
            await until(lambda: page.evaluate(f"Number({CHART}.imbalances)"), lambda count: count > 90)
            await until(lambda: page.evaluate(f"Number({CHART}.depths)"), lambda count: count == 1)
            box = await page.locator(".chart-pane .u-over").bounding_box()
            await page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 9)
            tip = page.locator(".chart-tip")
            exact = r"^2024-08-08 00:00:2\d.\d UTC *fair 61,000.015 *bid 61,000.00 *ask 61,000.02"
            await expect(tip).to_have_text(re.compile(exact + r" *spread 0.0033 bps *imbalance \+0.25$"))
            await page.get_by_role("button", name="Times are in UTC").click()
            await expect(page.locator("#event-time")).to_have_text("2024-08-08 05:30:30.0 UTC+5:30")
            await page.reload()
            await expect(page.locator("#zone")).to_have_text("UTC+5:30")


TEXTS = """
const { clearRect: clear, fillText: write } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.clearRect = function (...area) {
  this.canvas.texts = [];
  clear.apply(this, area);
};
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const half = this.measureText(text).width / 2;
  const left = { left: x, center: x - half, right: x - 2 * half }[this.textAlign];
  this.canvas.texts.push({ text, left, y: this.canvas.getBoundingClientRect().top + y / devicePixelRatio });
  write.call(this, text, x, y);
};
"""
DRAWN = """() => {
  const { top, height } = document.querySelector(".chart-label").getBoundingClientRect();
  return [[...document.querySelectorAll("#chart canvas")].flatMap(({ texts }) => texts), top + height / 2];
}"""


async def test_no_text_on_an_axis_is_cut_off_or_covered_by_the_label_of_the_price(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(*(make.price(step, bid=61_000.0 + step % 9) for step in range(900)), make.book(899))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1m", viewport=PHONE, script=TEXTS) as page:
            await expect(page.locator(".chart-label >> nth=0")).to_be_visible()
            for step in range(900, 909):
                await gateway.publish(make.book(step), make.price(step, bid=61_000.0 + step % 9))
                await expect(page.locator("#chart")).to_have_attribute("data-update-id", str(20 * step + 19))
                texts, label = await page.evaluate(DRAWN)
                assert [each for each in texts if each["text"] and each["left"] < 0] == []
                prices = [each for each in texts if each["text"].startswith("61,0")]
                assert prices
                assert [each for each in prices if abs(each["y"] - label) < 12] == []


STUB = """
window.notified = [];
window.Notification = class {
  static requestPermission = async () => "granted";
  constructor(title, { body }) { window.notified.push(body); }
};
"""


async def test_who_asks_is_notified_once_when_the_price_leaves_a_range_and_once_when_it_is_lost(serving, make, browser):
    async with serving(clock=SystemClock(), stale_after=3600) as gateway:
        await gateway.publish(make.book(1), make.price(1, bid=61_000.0))
        async with opened(browser, gateway.url, script=STUB) as page:
            await expect(page.locator("#update-id")).to_have_text("39")
            await page.get_by_role("button", name="Notify me").click()
            await page.locator("#notify-low").fill("60000")
            await page.locator("#notify-high").fill("50000")
            await page.get_by_role("button", name="Start").click()
            await expect(page.locator("#notify-note")).to_contain_text("below the upper one")
            await page.locator("#notify-high").fill("61500")
            await page.keyboard.press("Enter")
            await expect(page.locator("#notify-open")).to_have_attribute("aria-pressed", "true")
            for step, bid in enumerate((61_100.0, 61_600.0, 61_700.0, 61_200.0), start=2):
                await gateway.publish(make.book(step, bid=bid), make.price(step, bid=bid))
                await expect(page.locator("#update-id")).to_have_text(str(20 * step + 19))
            await gateway.publish(make.price(6, status="crossed"))
            await expect(page.locator("#feed-words")).to_have_text("not trusted")
            assert await page.evaluate("window.notified") == [
                "BTCUSDT is above your range: 61,600.02", "BTCUSDT: No fair price: the order book is crossed",
            ]  # fmt: skip
