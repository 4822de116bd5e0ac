"""The clock that is handed in, and the time limits that are taken from it."""

import asyncio
import time

import pytest
from clocks import ManualClock, settle
from waiting import soon

from fairprice.runtime.clock import SystemClock, timeout


async def test_the_systems_clock_is_the_machines():
    clock = SystemClock()
    assert abs(clock.wall() - time.time_ns() // 1000) < 60_000_000
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() >= before + 0.001


async def test_what_ends_in_time_is_not_disturbed():
    clock = ManualClock()
    async with timeout(clock, 5):
        await settle()
    await clock.advance(10)
    assert clock.sleepers == 0


async def test_what_takes_longer_is_ended_where_it_waits():
    clock, ended = ManualClock(), []

    async def work():
        try:
            async with timeout(clock, 5):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(clock.monotonic())

    working = asyncio.create_task(work())
    await clock.advance(4.9)
    assert ended == []
    await clock.advance(10)
    await working
    assert ended == [5.0]


async def test_a_cancellation_from_outside_stays_one():
    clock = ManualClock()

    async def work():
        async with timeout(clock, 5):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await settle()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert clock.sleepers == 0


async def test_the_clock_of_tests_wakes_each_sleeper_at_its_moment_in_order():
    clock, woken = ManualClock(wall_us=1_000_000), []

    async def sleeper(name, *pauses):
        for pause in pauses:
            await clock.sleep(pause)
            woken.append((name, clock.monotonic(), clock.wall()))

    sleepers = [asyncio.create_task(sleeper("a", 1, 1, 1)), asyncio.create_task(sleeper("b", 1.5, 1.5))]
    await clock.advance(2.5)
    assert woken == [("a", 1, 2_000_000), ("b", 1.5, 2_500_000), ("a", 2, 3_000_000)]
    clock.wall_us -= 60_000_000
    await clock.advance(0.5)
    assert woken[3:] == [("b", 3, -56_000_000), ("a", 3, -56_000_000)]
    await asyncio.gather(*sleepers)


@pytest.mark.parametrize("seconds", [1e-7, 0.1 + 0.2, 1 / 3])
async def test_who_waits_for_a_moment_on_the_clock_of_tests_reaches_it(seconds):
    clock = ManualClock()
    deadline = clock.monotonic() + seconds

    async def wait():
        while (left := deadline - clock.monotonic()) > 0:
            await clock.sleep(left)

    waiting = asyncio.create_task(wait())
    await clock.advance(1)
    await soon(waiting)
