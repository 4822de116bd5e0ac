"""The page in a real browser, beside the gateway in the same event loop."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import kept_history
import pages
import pytest
from pages import PHONE, expect, feeding, opened, text, until
from proxies import NAME, PROGRAMS, behind

from fairprice.errors import StoreUnavailable
from fairprice.runtime.clock import SystemClock
from gateway.key import Key
from gateway.stored.port import MINUTE, StoredGap

NONE = "\N{EN DASH}"
START = 1_723_075_200_000_000
BTC = Key("binance", "BTCUSDT")

pytestmark = pages.MARKS


@pytest.fixture
def serving(serving):
    """Return the same, where no price is stale but in tests that are about it: a slow browser shows an old one."""
    return partial(serving, stale_after=3600)


async def points(page):
    """Return how many points the chart draws."""
    return await page.evaluate("Number(document.getElementById('chart').dataset.points ?? 0)")


async def scale(page):
    """Return the lowest and the highest price that the chart draws."""
    return await page.evaluate(
        "(({ low, high }) => [Number(low), Number(high)])(document.getElementById('chart').dataset)"
    )


async def listeners(gateway):
    async with gateway.http.get(f"{gateway.url}/metrics") as answer:
        return float(re.search(r"^fairprice_gateway_clients (.*)$", await answer.text(), re.MULTILINE)[1])


LEARNT = {
    "forecast_mid": 61_839.15, "band_1s_low": 61_830.5, "band_1s_high": 61_847.8, "band_10s_low": 61_801.25,
    "band_10s_high": 61_877.05,
}  # fmt: skip


async def test_what_takes_two_minutes_to_learn_counts_down_and_is_shown_when_it_is_known(serving, make, browser):
    unknown = dict.fromkeys(LEARNT)
    async with serving(clock=SystemClock()) as gateway:
        until_then = make.status(model_time=make.price(0).event_time + 80_000_000)
        await gateway.publish(until_then, make.book(0), make.price(0, **unknown))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#learning")).to_have_text("learning: 1 min 20 s left")
            assert await page.locator("#expected tr").count() == 0
            assert "forecast mid" not in await text(page, "#estimates")
            await gateway.publish(make.book(350), make.price(350, **unknown))
            await expect(page.locator("#learning")).to_have_text("learning: 45 s left")
            await gateway.publish(make.status(), make.book(351), make.price(351, **unknown))
            await expect(page.locator("#learning")).to_have_text("learning: it takes two minutes without a gap")
            await gateway.publish(make.book(800), make.price(800, bid=61_837.64, **LEARNT))
            await expect(page.locator("#learning")).to_be_hidden()
            assert await text(page, "#expected tr:nth-child(1)") == "in 1 s\t61,830.50\t61,847.80"
            assert await text(page, "#expected tr:nth-child(2)") == "in 10 s\t61,801.25\t61,877.05"
            await expect(page.locator("#expected-note")).to_contain_text("nobody can trade on it")
            assert "forecast mid" in await text(page, "#estimates")
            band = await page.evaluate("JSON.parse(document.getElementById('chart').dataset.band)")
            assert [value for _, value in band[:4]] == [61_837.65, 61_847.8, 61_877.05, 61_801.25]
            assert band[2][0] - band[0][0] == 10_000


async def test_the_price_moves_and_everything_beside_it_is_filled(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway, feeding(gateway, make), opened(browser, gateway.url) as page:
        await expect(page.locator("#feed-words")).to_have_text("in sync")
        before = await text(page, "#price-main")
        after = await until(lambda: text(page, "#price-main"), lambda now: now != before)
        assert 61_837 < float(after.replace(",", "")) < 61_900
        assert len(after.split(".")[1]) == 2  # the tick of the book
        await expect(page).to_have_title(re.compile(r"^61,8\d\d\.\d\d BTCUSDT · Fairprice$"))
        await expect(page.locator("#bid-size")).to_have_text("1.5")
        await expect(page.locator("#imbalance")).to_have_text("+0.50")
        await expect(page.locator("#estimator")).to_have_text("weighted_mid")
        await expect(page.locator("#latency")).to_have_text("4.0 ms")
        assert await page.locator("#asks tr").count() == await page.locator("#bids tr").count() == 10
        assert await text(page, "#bids tr:nth-child(3) td:nth-child(2)") == "3.0"
        assert await text(page, "#bids tr:nth-child(3) td:nth-child(3)") == "6.0"
        assert "weighted mid" in await text(page, "#estimates")
        assert await text(page, "#bands td:first-child") == "10 bps"
        assert await text(page, "#impacts td:first-child") == "10 k"
        assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")


async def test_the_chart_draws_grows_and_shades_gaps(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        steps = (*range(100), *range(120, 300))
        await gateway.publish(*(make.price(step, bid=61_800 + step % 7) for step in steps), make.gap(100))
        async with opened(browser, gateway.url) as page:
            drawn = await until(lambda: points(page), lambda count: count > 40)
            async with feeding(gateway, make, first=300):
                await until(lambda: points(page), lambda count: count > drawn)
            await expect(page.locator("#chart .chart-gap")).to_have_count(1)
            await expect(page.locator("#feed-gaps")).to_contain_text("1 gap")
            await page.locator("[data-minutes='1']").click()
            await expect(page.locator("[data-minutes='1']")).to_have_attribute("aria-pressed", "true")
            await until(lambda: points(page), lambda count: count > 50)


async def test_hours_are_drawn_by_their_verdicts_and_not_verified_never_as_good(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.price(1), make.price(36_001))
        async with opened(browser, gateway.url) as page:
            marks = page.locator("#coverage li")
            await expect(marks).to_have_count(24)
            await expect(marks.last).to_have_text("?")
            await expect(page.locator("#coverage-note")).to_have_text("2 not verified, since 00:00")
            await expect(page.locator('#coverage [data-verdict="verified"]')).to_have_count(0)
            for step in range(36_002, 36_010):
                await gateway.publish(make.price(step))
            await gateway.publish(make.audit(60))
            await page.reload()
            await expect(marks.last).to_have_attribute("data-verdict", "unverified")  # not all of it was seen
            await gateway.publish(make.price(72_001, "ETHUSDT"), make.audit(120, "ETHUSDT"))
            await page.goto(f"{gateway.url}/#binance/ETHUSDT")
            await page.reload()
            await expect(marks.last).to_have_text("=")
            await expect(marks.last).to_have_attribute("title", "02:00 verified, 1 of 1 minutes compared")
            await expect(page.locator("#coverage-note")).to_have_text("1 verified, since 02:00")


async def test_the_depth_of_the_whole_book_has_a_row_a_distance_that_is_known(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.price(1), make.depth(1))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#whole tr")).to_have_text(["10 bps5.00002.5000"])
            await expect(page.locator("#whole-beyond")).to_contain_text("500 bps")
            await expect(page.locator("#whole-chart")).to_be_visible()
            drawn = [await page.locator(f"#whole-chart .{side}").get_attribute("d") for side in ("bid", "ask")]
            assert drawn == ["M0 1L-1 0.0000L-1 1Z", "M0 1L1 0.2929L1 1Z"]
            await expect(page.locator("#whole-scale")).to_have_text("10 bpsmid10 bps")
            await expect(page.locator("#whole-note")).to_contain_text("at ")


async def test_a_gap_that_another_crawler_fills_is_not_drawn_any_more(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        steps = (*range(100), *range(120, 300))
        await gateway.publish(*(make.price(step, bid=61_800 + step % 7) for step in steps), make.gap(100))
        async with opened(browser, gateway.url) as page:
            shapes = page.locator("#chart .chart-gap")
            await expect(shapes).to_have_count(1)
            await gateway.publish(*(make.price(step) for step in range(100, 120)))
            await expect(page.locator("#gaps-note")).to_have_text("none open")
            await expect(page.locator("#gaps td >> nth=2")).to_have_text("disconnected, filled")
            await expect(shapes).to_have_count(0)


async def test_the_newest_gap_is_listed_however_long_ago_it_was(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.price(1), make.gap(2, steps=1), make.price(6001))
        async with opened(browser, gateway.url) as page:
            await page.locator("[data-minutes='1']").click()
            await expect(page.locator("#gaps-note")).to_have_text("1 open, newest first")
            await expect(page.locator("#gaps tr")).to_have_count(1)


SAMPLES = 1000
"""As many as a machine has the time for; a slow one may stop at fewer, after 15 seconds."""

SAMPLE = """(count) => new Promise((done) => {
  const text = (selector) => document.querySelector(selector)?.textContent;
  const samples = [], end = performance.now() + 15000;
  const look = () => {
    samples.push({
      ids: ["price", "ladder", "chart", "estimates"].map((id) => document.getElementById(id).dataset.updateId),
      footer: text("#update-id"), price: text("#price-main") + text("#price-fine"), middle: text("#ladder-price"),
      label: text("#chart .chart-label"), mid: text("#estimates td:nth-child(2)"),
      asks: [text("#ask"), text("#asks tr:last-child td")], bids: [text("#bid"), text("#bids tr:first-child td")],
    });
    if (samples.length < count && performance.now() < end) setTimeout(look, 3);
    else done(samples);
  };
  look();
})"""


async def test_headline_ladder_chart_and_estimates_are_of_one_moment(serving, make, browser):
    async with (
        serving(clock=SystemClock(), limits={"beat": 0.1}) as gateway,
        out_of_step(gateway, make),
        opened(browser, gateway.url) as page,
    ):
        await expect(page.locator("#chart")).to_have_attribute("data-update-id", re.compile("."))
        await expect(page.locator("#ladder")).to_have_attribute("data-update-id", re.compile("."))
        samples = await page.evaluate(SAMPLE, SAMPLES)
    for each in samples:
        assert len({*each["ids"], each["footer"].replace(",", "")}) == 1, each
        assert [len(set(each[side])) for side in ("asks", "bids")] == [1, 1], each
        numbers = [float(each[name].replace(",", "")) for name in ("price", "middle", "label", "mid")]
        assert max(numbers) - min(numbers) < 0.02, each
    assert len({each["footer"] for each in samples}) > 3


BAR = """() => {
  window.seen = new Promise((done) => new MutationObserver(() => {
    const [bar, whole] = ["balance-bar", "balance"].map((id) => document.getElementById(id).getBoundingClientRect());
    done([bar.left, bar.right].map((edge) => (edge - whole.left) / whole.width));
  }).observe(document.getElementById("imbalance"), { childList: true, characterData: true, subtree: true }));
}"""


async def test_the_bar_of_the_imbalance_is_at_once_where_its_number_is(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.book(1), make.price(1, imbalance=-0.5))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#imbalance")).to_have_text("\N{MINUS SIGN}0.50")
            await page.evaluate(BAR)
            await gateway.publish(make.book(2), make.price(2, imbalance=0.5))
            assert await page.evaluate("() => window.seen") == pytest.approx([0.5, 0.75], abs=0.01)


async def test_with_live_prices_all_is_of_one_moment_too_and_moves_between_two_books(serving, make, browser):
    async with (
        serving(clock=SystemClock(), limits={"beat": 0.1}) as gateway,
        out_of_step(gateway, make, quotes=True),
        opened(browser, gateway.url) as page,
    ):
        await expect(page.locator("#price-note")).to_contain_text("live")
        await expect(page.locator("#chart")).to_have_attribute("data-update-id", re.compile("."))
        samples = await page.evaluate(SAMPLE, SAMPLES)
    for each in samples:
        assert len({*each["ids"], each["footer"].replace(",", "")}) == 1, each
        assert [len(set(each[side])) for side in ("asks", "bids")] == [1, 1], each
        numbers = [float(each[name].replace(",", "")) for name in ("price", "middle", "label", "mid")]
        assert max(numbers) - min(numbers) < 0.02, each
    ids = [int(each["footer"].replace(",", "")) for each in samples]
    assert ids == sorted(ids), "it never goes back"
    assert {each % 20 for each in ids} & {4, 9, 14}, "ids of tickers, between those of the books"


async def test_the_record_is_shown_when_it_is_newer_and_when_no_live_price_comes_any_more(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#update-id")).to_have_text("39")
            await gateway.publish(make.live(1, ahead=5))
            await expect(page.locator("#update-id")).to_have_text("44")
            await expect(page.locator("#ladder")).to_have_attribute("data-update-id", "44")
            await expect(page.locator("#latency")).to_have_text("2.0 ms")
            await gateway.publish(make.live(2, ahead=25))
            await expect(page.locator("#update-id")).to_have_text("84")
            await gateway.publish(make.book(2), make.price(2))  # as old as what was shown
            await gateway.publish(make.book(4), make.price(4))
            await expect(page.locator("#update-id")).to_have_text("99")
            assert "live" not in await text(page, "#price-note")
            await gateway.publish(make.live(4, ahead=1000))  # as if the ids began anew: what follows has smaller ones
            await expect(page.locator("#update-id")).to_have_text("1,099")
            await asyncio.sleep(1.1)
            await gateway.publish(make.book(5), make.price(5))
            await expect(page.locator("#update-id")).to_have_text("119")


async def test_a_dispute_is_an_alarm_until_both_agree_again(serving, make, browser):
    async with serving() as gateway:
        await gateway.publish(make.book(1), make.price(1), make.live(1, bid=61_000.0))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            await gateway.clock.advance(1.0)
            await gateway.publish(make.live(1, bid=61_000.0, ahead=9))
            await gateway.beat()
            await expect(page.locator("#feed-words")).to_have_text("disputed")
            await expect(page.locator("#alarm")).to_contain_text("do not trust")
            await gateway.publish(make.book(2, bid=61_000.0), make.price(2, bid=61_000.0))
            await gateway.beat()
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            await expect(page.locator("#alarm")).to_be_hidden()


@asynccontextmanager
async def out_of_step(gateway, make, *, quotes=False):
    """Publish books and prices that move by a dollar each 20 ms; now the ones are ahead and now the others."""

    async def feed():
        waiting = {"book": [], "price": []}
        for step in count():
            bid = 60_000 + step % 1000
            waiting["book"].append(make.book(step, bid=bid))
            waiting["price"].append(make.price(step, bid=bid))
            if quotes:
                for ahead in (5, 10, 15):
                    await gateway.publish(make.live(step, bid=bid + ahead / 100, ahead=ahead))
            for kind, lag in (("book", step // 7 % 4), ("price", step // 5 % 4)):
                while len(waiting[kind]) > lag:
                    await gateway.publish(waiting[kind].pop(0))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(feed())
    yield
    task.cancel()
    await asyncio.wait({task})


async def test_prices_are_shown_without_a_ladder_when_no_book_comes(serving, make, browser):
    async with (
        serving(clock=SystemClock(), expected=[("binance", "BTCUSDT")]) as gateway,
        opened(browser, gateway.url) as page,
    ):
        await gateway.publish(make.book(1), make.price(1))
        await expect(page.locator("#ladder")).to_have_attribute("data-update-id", str(make.book(1).update_id))
        await gateway.publish(make.price(2))
        await expect(page.locator("#update-id")).to_have_text(str(make.price(2).update_id))
        await expect(page.locator("#bids td >> nth=0")).to_have_text(NONE)


async def test_what_is_never_known_has_no_row_but_a_line(serving, make, browser):
    async with (
        serving(clock=SystemClock(), expected=[("binance", "BTCUSDT")]) as gateway,
        opened(browser, gateway.url) as page,
    ):
        unknown = {"depth_bid_50bps": None, "depth_ask_50bps": None}
        await gateway.publish(make.book(1), make.price(1, **unknown))
        await expect(page.locator("#bands td:first-child")).to_have_text(["10 bps"])
        await expect(page.locator("#bands-beyond")).to_have_text("50 bps: beyond the levels of a book")
        await expect(page.locator("#impacts-beyond")).to_be_hidden()
        await gateway.publish(make.book(2), make.price(2, depth_bid_50bps=60.0, depth_ask_50bps=None))
        await expect(page.locator("#bands td:first-child")).to_have_text(["10 bps", "50 bps"])
        await gateway.publish(make.book(3), make.price(3, **unknown))
        await expect(page.locator("#bands tr >> nth=1 >> td")).to_have_text(["50 bps", NONE, NONE])
        await expect(page.locator("#bands-beyond")).to_be_hidden()


async def test_another_symbol_changes_all_that_is_shown(serving, make, browser):
    symbols = ("BTCUSDT", "ETHUSDT")
    async with (
        serving(clock=SystemClock()) as gateway,
        feeding(gateway, make, symbols=symbols),
        opened(browser, f"{gateway.url}/#BTCUSDT") as page,
    ):
        await gateway.publish(replace(make.gap(0), from_update_id=10**9, to_update_id=10**9 + 1))
        shapes = page.locator("#chart .chart-gap")
        await expect(shapes).to_have_count(1)
        await page.locator("#symbols button", has_text="ETHUSDT").click()
        await expect(page.locator("#symbol")).to_have_text("ETHUSDT")
        best, mid = "#bids td:first-child >> nth=0", "#estimates td >> nth=1"
        for selector in ("#price-main", "#bid", "#ask", "#ladder-price", best, mid):
            await until(lambda selector=selector: text(page, selector), lambda shown: shown.startswith("6,18"))
        await expect(page).to_have_url(re.compile("#binance/ETHUSDT$"))
        assert "ETHUSDT" in await page.title()
        await until(lambda: scale(page), lambda ends: all(6180 < end < 6200 for end in ends))
        await expect(shapes).to_have_count(0)
        await until(lambda: listeners(gateway), lambda count: count == 1)  # the one of before has gone
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#symbol")).to_have_text("BTCUSDT")
        await page.goto(f"{gateway.url}/#ethusdt")
        await expect(page.locator("#symbol")).to_have_text("ETHUSDT")


@pytest.mark.may_skip
@pytest.mark.skipif(PROGRAMS["nginx"] is None, reason="nginx is not installed; apt-get install nginx enables this test")
async def test_behind_a_proxy_below_a_path_the_page_is_whole(serving, make, browser, tmp_path):
    async with (
        serving(clock=SystemClock(), http_names=(NAME,)) as gateway,
        feeding(gateway, make),
        behind("nginx", gateway, tmp_path) as url,
        opened(browser, url) as page,
    ):
        await expect(page.locator("#feed-words")).to_have_text("in sync")
        await expect(page.locator("#chart")).to_have_attribute("data-update-id", re.compile("."))
        await expect(page.locator("#ws-address")).to_have_text(f"{url.replace('http', 'ws', 1)}ws?symbols=BTCUSDT")
        for link in await page.locator("a").all():
            address = await link.evaluate("link => link.href")
            assert address.startswith(url)
            assert await page.evaluate("async (address) => (await fetch(address)).status", address) == 200


async def test_silence_turns_the_page_red_and_the_next_price_clears_it(serving, make, browser):
    async with serving(clock=SystemClock(), stale_after=2) as gateway:
        await gateway.publish(make.price(1))
        async with opened(browser, gateway.url) as page:
            async with feeding(gateway, make, first=2):
                await expect(page.locator("#feed-words")).to_have_text("in sync")
                await expect(page.locator("#alarm")).to_be_hidden()
            await expect(page.locator("#feed-words")).to_have_text("stale")
            await expect(page.locator("#alarm")).to_contain_text("No new price for")
            await expect(page.locator("#price-note")).to_contain_text("last good price")
            assert (await page.title()).startswith("⚠ stale BTCUSDT")
            decoration = "getComputedStyle(document.getElementById('price-main')).textDecorationLine"
            assert await page.evaluate(decoration) == "line-through"
            red, green, blue = await background(page, ".pill")
            assert red > 2 * max(green, blue)
            async with feeding(gateway, make, first=1_000):
                await expect(page.locator("#alarm")).to_be_hidden()
                await expect(page.locator("#feed-words")).to_have_text("in sync")


async def test_spot_and_futures_stand_side_by_side_with_the_basis(serving, make, browser):
    venues = ("binance", "binance-usdm")
    async with (
        serving(clock=SystemClock(), expected=[("binance-usdm", "BTCUSDT")]) as gateway,
        feeding(gateway, make, venues=venues),
        opened(browser, f"{gateway.url}/#btcusdt") as page,
    ):
        tabs = page.locator("#symbols button")
        await expect(tabs).to_have_count(2)
        for number, (venue, price) in enumerate(zip(venues, ("61,8", "61,9"), strict=True)):
            await tabs.nth(number).click()
            await expect(page.locator("#venue")).to_have_text(venue)
            await until(lambda: text(page, "#price-main"), lambda shown, price=price: shown.startswith(price))
            await until(
                lambda: text(page, "#bids td:first-child >> nth=0"), lambda shown, price=price: shown.startswith(price)
            )
            await expect(page.locator("#basis")).to_have_text(re.compile(r"^\+(9\.9|10\.0)\d bps$"))
            await expect(page.locator("#basis-note")).to_have_text("binance-usdm over binance")
            await expect(page).to_have_url(re.compile(f"#{venue}/BTCUSDT$"))
            assert venue in await page.title()
        await page.goto(f"{gateway.url}/#binance/btcusdt")
        await expect(page.locator("#venue")).to_have_text("binance")
        root = "document.documentElement"
        assert await page.evaluate(f"{root}.scrollHeight <= innerHeight && {root}.scrollWidth <= innerWidth")
        price, sides = [await page.locator(selector).bounding_box() for selector in ("#price-main", ".sides")]
        assert price["x"] + price["width"] < sides["x"]


@pytest.mark.parametrize("width", [1181, 1280, 1440, 1920])
async def test_the_price_never_covers_the_sides(serving, make, browser, width):
    async with (
        serving(clock=SystemClock()) as gateway,
        feeding(gateway, make, venues=("binance", "binance-usdm")),
        opened(browser, gateway.url, viewport={"width": width, "height": 900}) as page,
    ):
        await expect(page.locator("#price-main")).to_have_text(re.compile(r"^61,8"))
        await expect(page.locator("#basis-row")).to_be_visible()
        arrow, sides = [await page.locator(selector).bounding_box() for selector in ("#price-arrow", ".sides")]
        assert arrow["x"] + arrow["width"] <= sides["x"]


async def test_a_halt_is_shown_in_the_words_of_the_exchange_and_is_no_alarm(serving, make, browser):
    async with serving(clock=SystemClock(), stale_after=0.3) as gateway:
        await gateway.publish(make.price(1), make.book(1), make.status("BREAK"))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#feed-words")).to_have_text("BREAK")
            await expect(page.locator("#alarm")).to_have_text("Halted by the exchange: BREAK")
            await expect(page.locator("#price-main")).to_have_text(f"{make.price(1).price:,.3f}"[:-1])
            red, green, _ = await background(page, ".pill")
            assert red < 2 * green
            await gateway.publish(make.status())
            await expect(page.locator("#feed-words")).to_have_text("stale")


async def test_a_symbol_that_the_exchange_does_not_list_is_shown_as_such(serving, make, browser):
    async with serving(clock=SystemClock(), expected=[("binance", "GONEUSDT")]) as gateway:
        await gateway.publish(make.status("UNLISTED", "GONEUSDT"))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#feed-words")).to_have_text("not listed")
            await expect(page.locator("#empty-words")).to_have_text("GONEUSDT: The exchange does not list this symbol")
            await expect(page.locator("#empty li:visible")).to_have_count(1)
            await expect(page.locator("#empty li:visible")).to_contain_text("Is the symbol spelt")


async def test_what_is_wrong_is_said_at_the_top_until_it_is_right_again(serving, make, browser):
    problem = {"store": None}
    async with (
        serving(clock=SystemClock(), checks={"store": lambda: problem["store"]}) as gateway,
        feeding(gateway, make),
        opened(browser, gateway.url) as page,
    ):
        await expect(page.locator("#feed-words")).to_have_text("in sync")
        await expect(page.locator("#health")).to_be_hidden()
        problem["store"] = "the disk is full, 1,204 rows wait"
        await expect(page.locator("#problems li")).to_have_text(["store: the disk is full, 1,204 rows wait"])
        overhang = "document.querySelector('#chart canvas').getBoundingClientRect().bottom > innerHeight - 30"
        await until(lambda: page.evaluate(overhang), lambda is_cut: not is_cut)
        await gateway.publish(make.status(problem="no best bid and ask to compare the book with for a minute"))
        await expect(page.locator("#problems li")).to_have_count(2)
        await expect(page.locator("#problems li >> nth=1")).to_contain_text("BTCUSDT: no best bid and ask")
        problem["store"] = None
        await gateway.publish(make.status())
        await expect(page.locator("#health")).to_be_hidden()


async def test_an_exchange_whose_clock_is_ahead_is_said_and_the_negative_latency_shown(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        early = make.price(1, received=make.price(1).event_time - 2_500_000)
        early = replace(early, priced_time=early.event_time - 2_400_000)
        await gateway.publish(early)
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#problems li")).to_contain_text(["2.5 s ahead of this machine's"])
            await expect(page.locator("#latency")).to_have_text("-2,400.0 ms")


async def test_a_simulator_that_is_started_again_draws_its_chart_anew(serving, make, browser):
    async with serving(clock=SystemClock(), limits={"new_run_after": 0.5}) as gateway:
        await gateway.publish(*(make.price(step) for step in range(5_000, 5_300)))
        async with opened(browser, gateway.url) as page:
            await until(lambda: points(page), lambda count: count > 50)
            async with feeding(gateway, make):
                newest = page.locator("#update-id")
                await until(newest.inner_text, lambda shown: int(shown.replace(",", "")) < 20_000)
                await until(lambda: points(page), lambda count: count < 50)


async def background(page, selector):
    colour = await page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).backgroundColor")
    return [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")][:3]


async def test_a_price_with_a_bad_status_is_not_shown_as_good(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(make.price(1), make.price(2, status="crossed"))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#alarm")).to_have_text("No fair price: the order book is crossed")
            await expect(page.locator("#price-main")).to_have_text(f"{make.price(1).price:,.3f}"[:-1])
            await expect(page.locator("#price-note")).to_contain_text("last good price")
            await gateway.publish(make.price(3))
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            await expect(page.locator("#price-note")).to_have_text("weighted mid · ok")


async def test_the_page_comes_back_when_the_gateway_does(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        await gateway.publish(make.price(1))
        async with opened(browser, gateway.url, errors="ERR_CONNECTION_REFUSED") as page:
            await expect(page.locator("#feed-words")).to_have_text("in sync")
            gateway.task.cancel()
            await expect(page.locator("#feed-words")).to_have_text("disconnected")
            await expect(page.locator("#alarm")).to_contain_text("Connection to the gateway lost")
            await asyncio.wait({gateway.task})
            async with serving(clock=SystemClock(), http_port=port) as again:
                await again.publish(make.price(2))
                await expect(page.locator("#feed-words")).to_have_text("in sync")
                await expect(page.locator("#update-id")).to_have_text(str(make.price(2).update_id))


async def test_before_the_first_price_it_says_what_it_waits_for(serving, make, browser):
    async with (
        serving(clock=SystemClock(), expected=[("binance", "BTCUSDT")]) as gateway,
        opened(browser, gateway.url) as page,
    ):
        await expect(page.locator("#empty")).to_contain_text("Waiting for the first price of BTCUSDT")
        await expect(page.locator("#feed-words")).to_have_text("waiting")
        await gateway.publish(make.price(1))
        await expect(page.locator("#empty")).to_be_hidden()


async def test_a_phone_shows_it_in_one_column(serving, make, browser):
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
    async with (
        serving(clock=SystemClock()) as gateway,
        feeding(gateway, make, symbols=symbols),
        opened(browser, gateway.url, viewport=PHONE, has_touch=True) as page,
    ):
        await until(lambda: points(page), lambda count: count > 1)
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        panels = page.locator("main > .panel:visible")
        lefts = await panels.evaluate_all("panels => panels.map((panel) => panel.getBoundingClientRect().left)")
        assert len(lefts) == 4
        assert len(set(lefts)) == 1


async def test_the_theme_follows_the_system_until_it_is_chosen(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway, feeding(gateway, make):
        async with opened(browser, gateway.url, color_scheme="dark") as page:
            assert max(await background(page, "body")) < 40
            await page.locator("#theme").click()
            assert min(await background(page, "body")) > 200
            await page.reload()
            assert min(await background(page, "body")) > 200
        async with opened(browser, gateway.url, color_scheme="light") as page:
            assert min(await background(page, "body")) > 200


async def test_many_symbols_become_a_list(serving, make, browser):
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(*(make.price(1, f"COIN{number}") for number in range(9)))
        async with opened(browser, gateway.url) as page:
            await page.locator("#symbol-select").select_option("COIN7")
            await expect(page.locator("#symbol")).to_have_text("COIN7")
            await expect(page.locator("#symbols")).to_be_hidden()


async def test_of_two_hundred_symbols_it_is_told_how_far_they_are_and_which_the_exchange_does_not_trade(
    serving, make, browser
):
    names = [f"COIN{number}" for number in range(200)]
    words = {"COIN7": "BREAK", "COIN8": "HALT", "COIN9": "UNLISTED"}
    away = "2 halted · 1 not listed"
    async with serving(clock=SystemClock()) as gateway:
        await gateway.publish(
            *(make.status(words.get(name, "TRADING"), name, problem="the order book is not in sync") for name in names)
        )
        await gateway.publish(*(make.price(1, name) for name in names[:80] if name not in words))
        async with opened(browser, gateway.url) as page:
            roster = page.locator("#roster")
            await expect(roster).to_have_text(f"77 of 197 in sync · {away}")
            await expect(page.locator("#symbol-select option").nth(7)).to_have_text("COIN7 · halted")
            await expect(page.locator("#symbol-select option").nth(9)).to_have_text("COIN9 · not listed")
            await expect(page.locator("#symbol-select option").nth(80)).to_have_text("COIN80 · waiting")
            await gateway.publish(*(make.price(1, name) for name in names[80:180]))
            await expect(roster).to_have_text(re.compile(f"^177 of 197 in sync, about \\d+ s left · {away}$"))
            await gateway.publish(*(make.price(1, name) for name in names[180:]))
            await expect(roster).to_have_text(f"200 symbols · {away}")
            assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")


async def test_many_symbols_that_are_only_quiet_are_in_sync_and_those_of_a_crawler_that_lost_its_stream_are_not(
    serving, make, browser
):
    names = [f"COIN{number}" for number in range(12)]
    async with serving(clock=SystemClock(), stale_after=0.3) as gateway:
        await gateway.publish(*(make.price(1, name) for name in names))
        async with opened(browser, gateway.url) as page:
            await expect(page.locator("#feed-words")).to_have_text("stale")
            await expect(page.locator("#roster")).to_have_text("12 symbols")
            await gateway.publish(*(make.status("TRADING", name, problem="not in sync") for name in names))
            await expect(page.locator("#roster")).to_have_text("0 of 12 in sync")


# ---- the past


def a_day(*, gaps=(), end=START):
    """Bars of a day, of which the last is of the minute before `end`."""
    begin = end - 1440 * MINUTE
    bars = [kept_history.bar(begin + number * MINUTE, 61_000 + number / 10) for number in range(1440)]
    history = kept_history.KeptHistory(*bars, key=BTC)
    history.of_compared = [kept_history.compared(bar.time) for bar in bars if bar.time < begin + 1200 * MINUTE]
    history.of_gaps = list(gaps)
    return history


near = partial(pytest.approx, rel=0.01)


async def view(page):
    """Return begin and end of what the chart shows after the next frame, in milliseconds, and whether it follows."""
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    ends = "(({ from, to, follows }) => [Number(from), Number(to), follows === 'true'])"
    return await page.evaluate(f"{ends}(document.getElementById('chart').dataset)")


async def test_the_chart_is_full_before_the_first_price_has_come_and_doubtful_where_nothing_was_compared(
    serving, browser
):
    async with (
        serving(clock=SystemClock(), expected=[BTC], history=a_day()) as gateway,
        opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1d") as page,
    ):
        drawn = await until(lambda: points(page), lambda count: count > 700)
        assert drawn < 800  # bars of two minutes
        await expect(page.locator("#empty")).to_be_hidden()
        doubtful = await page.evaluate("Number(document.getElementById('chart').dataset.doubtful)")
        assert 115 <= doubtful <= 125  # the last four hours of it
        await expect(page.locator("[data-minutes='1440']")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(("minutes", "least"), [(60, 60), (240, 240), (1440, 700)])
async def test_each_range_is_drawn_from_the_store_up_to_the_newest_price(serving, make, browser, minutes, least):
    async with serving(clock=SystemClock(), history=a_day()) as gateway:
        await gateway.publish(*(make.price(step, bid=61_144.0) for step in range(20)))
        async with opened(browser, gateway.url) as page:
            await page.locator(f"[data-minutes='{minutes}']").click()
            await until(lambda: points(page), lambda count: count >= least)
            newest = make.price(19).event_time // 1000
            await until(lambda: view(page), lambda seen: seen == [newest - minutes * 60_000, newest, True])
            await expect(page).to_have_url(re.compile(r"range=(1h|4h|1d)$"))


async def test_the_view_is_moved_by_mouse_keyboard_and_touch_and_stays_in_the_address(serving, make, browser):
    async with serving(clock=SystemClock(), history=a_day()) as gateway:
        await gateway.publish(make.book(1), make.price(1, bid=61_144.0))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h") as page:
            await until(lambda: points(page), lambda count: count > 50)
            _, ended, _ = await view(page)
            box = await page.locator(".chart-price .u-over").bounding_box()
            middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            await page.mouse.move(*middle)
            await page.mouse.down()
            await page.mouse.move(middle[0] + box["width"] / 4, middle[1], steps=4)
            await page.mouse.up()
            _, _, follows = await until(lambda: view(page), lambda seen: ended - seen[1] == near(900_000, rel=0.05))
            assert not follows
            await until(lambda: points(page), lambda count: count > 50)
            await page.mouse.wheel(0, 100)
            wider = await until(lambda: view(page), lambda seen: seen[1] - seen[0] == near(1.25 * 3_600_000))
            await page.locator("#chart").focus()
            await page.keyboard.press("+")
            nearer = await until(lambda: view(page), lambda seen: seen[1] - seen[0] == near(3_600_000))
            await page.keyboard.press("ArrowLeft")
            moved = await until(lambda: view(page), lambda seen: seen[0] < nearer[0])
            assert moved[1] - moved[0] == near(3_600_000)
            assert moved[0] < wider[0] + 450_000
            await expect(page).to_have_url(re.compile("range=1h&to=2024-08-0"))
            await page.reload()
            await until(lambda: points(page), lambda count: count > 50)
            again = await view(page)
            assert [round(each / 1000) for each in again[:2]] == [round(each / 1000) for each in moved[:2]]
            assert not again[2]
            await page.locator("#chart").focus()
            await page.keyboard.press("End")
            await until(lambda: view(page), lambda seen: seen[1:] == [ended, True])
            await expect(page).to_have_url(re.compile(r"#binance/BTCUSDT\?range=1h$"))


async def test_two_fingers_zoom_and_one_moves(serving, make, browser):
    async with serving(clock=SystemClock(), history=a_day()) as gateway:
        await gateway.publish(make.book(1), make.price(1, bid=61_144.0))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h", viewport=PHONE, has_touch=True) as page:
            await until(lambda: points(page), lambda count: count > 50)
            box = await page.locator(".chart-price .u-over").bounding_box()
            top = box["y"] + 40

            async def touch(kind, *xs):
                where = [{"x": box["x"] + x, "y": top, "id": number} for number, x in enumerate(xs)]
                await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

            await page.locator("#chart").scroll_into_view_if_needed()
            box = await page.locator(".chart-price .u-over").bounding_box()
            top = box["y"] + 40
            session = await page.context.new_cdp_session(page)
            await touch("touchStart", 60)
            for x in (80, 110, 160):
                await touch("touchMove", x)
            await touch("touchEnd")
            _, _, follows = await until(lambda: view(page), lambda seen: not seen[2])
            assert not follows
            began, ended, _ = await view(page)
            await touch("touchStart", 100, 140)
            for other in (160, 180):
                await touch("touchMove", 100, other)
            await touch("touchEnd")
            begin, end, _ = await until(lambda: view(page), lambda seen: seen[1] - seen[0] < (ended - began) / 1.5)
            assert end - begin == pytest.approx((ended - began) / 2, rel=0.05)


async def test_stored_gaps_are_drawn_with_their_reasons(serving, make, browser):
    gap = StoredGap(START - 600_000_000, START - 540_000_000, 5, 9, "disconnected", 5)
    async with serving(clock=SystemClock(), history=a_day(gaps=[gap])) as gateway:
        await gateway.publish(make.book(1), make.price(1, bid=61_144.0))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h") as page:
            mark = page.locator("#chart .chart-gap")
            await expect(mark).to_have_count(1)
            box = await mark.bounding_box()
            await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            await expect(page.locator("#chart .chart-tip")).to_contain_text("gap: disconnected")


async def test_a_store_that_is_away_is_said_and_the_live_chart_goes_on(serving, make, browser):
    history = a_day()
    history.away = StoreUnavailable("InfluxDB at http://db cannot be reached: refused")
    async with (
        serving(clock=SystemClock(), history=history) as gateway,
        feeding(gateway, make),
        opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h", errors="503") as page,
    ):
        note = page.locator("#chart-note")
        await expect(note).to_contain_text("cannot be reached: refused; live prices are not affected")
        await expect(page.locator("#feed-words")).to_have_text("in sync")
        drawn = await points(page)
        await until(lambda: points(page), lambda count: count >= drawn and count > 0)
        history.away = None
        await page.locator("[data-minutes='240']").click()
        await until(lambda: points(page), lambda count: count >= 240)
        await expect(note).to_be_hidden()


async def test_an_address_that_somebody_typed_is_answered_with_a_sentence_and_a_chart(serving, make, browser):
    async with serving(clock=SystemClock(), history=a_day()) as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=soon&to=<b>") as page:
            note = page.locator("#chart-note")
            await expect(note).to_contain_text("asks for the range soon, which is none: write 5s to 366d")
            await expect(note).to_contain_text("asks for the time <b>, which is none")
            await expect(page.locator("[data-minutes='5']")).to_have_attribute("aria-pressed", "true")


async def test_what_is_shown_can_be_taken_away(serving, make, browser):
    async with serving(clock=SystemClock(), history=a_day()) as gateway:
        await gateway.publish(make.book(1), make.price(1))
        async with opened(browser, f"{gateway.url}/#binance/BTCUSDT?range=1h") as page:
            await expect(page.locator("#download")).to_be_visible()
            async with page.expect_download() as begun:
                await page.locator("#download").click()
            lines = await asyncio.to_thread(
                lambda file: Path(file).read_text().splitlines(), await (await begun.value).path()
            )
            assert lines[0].startswith("venue,symbol,time,open")
            assert len(lines) == 61
