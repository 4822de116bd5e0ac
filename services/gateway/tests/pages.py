"""Opens the page in a real Chromium and feeds it; without playwright whoever imports this is skipped."""

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from itertools import product

import pytest
from waiting import PATIENCE, patience

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
expect = playwright_api.expect
expect.set_options(timeout=PATIENCE * 1000)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

MARKS = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),  # they share one browser
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH; apt-get install chromium enables this test"),
]


@asynccontextmanager
async def chromium():
    """Start one."""
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, timeout=2 * PATIENCE * 1000
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser, url, *, errors=None, script=None, **options):
    """Open the page, after a script if there is one; it must neither complain nor reach for another origin."""
    context = await browser.new_context(**{"viewport": DESKTOP, **options})
    context.set_default_timeout(PATIENCE * 1000)
    if script:
        await context.add_init_script(script)
    page = await context.new_page()
    complaints, requests = [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url.replace("ws://", "http://")))
    async with page.expect_websocket():  # so that even a test that ends at once has seen it
        await page.goto(url)
    yield page
    await context.close()
    assert [text for text in complaints if not (errors and errors in text)] == []
    origin = re.split("[?#]", url)[0].rstrip("/")
    assert [each for each in requests if not each.startswith((f"{origin}/", "data:"))] == []
    assert any(each.startswith(f"{origin}/ws") for each in requests)


@asynccontextmanager
async def feeding(gateway, make, *, symbols=("BTCUSDT",), venues=("binance",), first=0, **values):
    """Publish books and prices of each symbol every 50 ms; those of a later venue are a thousandth higher."""

    async def feed():
        step = first
        while True:
            for (number, symbol), (above, venue) in product(enumerate(symbols), enumerate(venues)):
                bid = (61_837.64 + step / 100) / 10**number * (1 + above / 1000)
                book = make.book(step, symbol, venue=venue, bid=bid)
                await gateway.publish(book, make.price(step, symbol, venue=venue, bid=bid, **values))
            step += 1
            await asyncio.sleep(0.05)

    task = asyncio.create_task(feed())
    yield
    task.cancel()
    await asyncio.wait({task})


async def text(page, selector):
    return await page.locator(selector).inner_text()


async def until(read, holds):
    """Wait until what is read satisfies `holds`, and return it."""
    async with patience():
        while not holds(value := await read()):  # noqa: ASYNC110  the page has no event to wait for
            await asyncio.sleep(0.05)
    return value
