"""Spot and futures side by side: two crawlers, one broker, one converter, one database, one page with the basis."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from random import Random

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from waiting import patience

import converter.app
import gateway.app
import storer.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from gateway.settings import GatewaySettings
from simulator import Exchange, SimulatorServer
from storer.settings import StorerSettings
from storer.stores.sqlite import open_sqlite

VENUES = ("binance", "binance-usdm")
SYMBOL = "BTCUSDT"


def crawler(venue, server, broker):
    settings = CrawlerSettings(
        venue=venue,
        symbols=(SYMBOL,),
        exchange_rest_url=server.rest_url,
        exchange_stream_url=server.stream_url,
        state_dir=None,
    )
    return Crawler(settings, broker, name=f"crawler-of-{venue}", random=Random(1), clock=SystemClock())


@asynccontextmanager
async def two_venues(path):
    """Run everything in this process and yield the gateway's address."""
    broker, clock, random, stop = MemoryBroker(), SystemClock(), Random(1), asyncio.Event()
    serving = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        store = await open_sqlite(path)
        stack.push_async_callback(store.close)
        exchanges = [Exchange((SYMBOL,), seed, venue=venue, start_us=clock.wall()) for seed, venue in enumerate(VENUES)]
        servers = [await stack.enter_async_context(SimulatorServer(each, at_present=True)) for each in exchanges]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        works = [crawler(venue, server, broker).run(stop) for venue, server in zip(VENUES, servers, strict=True)]
        common = {"clock": clock, "stop": stop}
        works += [
            converter.app.run(ConverterSettings(), broker, random=random, **common),
            storer.app.run(StorerSettings(), broker, store, random=random, **common),
            gateway.app.run(
                GatewaySettings(http_port=0),
                broker,
                back_off=partial(delays, random),
                registry=CollectorRegistry(),
                checks={},
                on_serving=serving.set_result,
                **common,
            ),
        ]
        for work in works:
            tasks.create_task(work)
        try:
            async with patience():
                url = await serving
            yield url
        finally:
            stop.set()


async def until_live(http, url):
    """Wait until both venues trade and have a live price, and return what is told of them."""
    while True:
        async with http.get(f"{url}/api/prices") as answer:
            prices = {price["venue"]: price for price in await answer.json()}
        told = {(price["feed"]["state"], price["feed"]["exchange_status"]) for price in prices.values()}
        if set(prices) == set(VENUES) and told == {("live", "TRADING")}:
            return prices
        await asyncio.sleep(0.05)


async def test_spot_and_futures_of_one_name_never_mix_and_have_a_basis(tmp_path):
    path = tmp_path / "both.db"
    async with two_venues(path) as url, aiohttp.ClientSession() as http:
        async with patience():
            prices = await until_live(http, url)
        spot, futures = (prices[venue] for venue in VENUES)
        assert (futures["basis_against"], spot["basis_against"]) == ("binance", None)
        assert futures["basis_bps"] == pytest.approx((futures["mid"] / spot["mid"] - 1) * 1e4, abs=1e-6)
        async with http.get(f"{url}/api/book/{SYMBOL}") as answer:
            assert answer.status == 409
        for venue in VENUES:
            async with http.get(f"{url}/api/book/{venue}/{SYMBOL}") as answer:
                assert (await answer.json())["venue"] == venue
        async with http.get(f"{url}/readyz") as answer:
            assert answer.status == 200, await answer.text()
    with closing(sqlite3.connect(path)) as database:
        stored = database.execute("SELECT DISTINCT venue, symbol FROM fair_price").fetchall()
    assert set(stored) == {(venue, SYMBOL) for venue in VENUES}
