"""The clock that tests drive lets everybody go on who can, and takes no longer than that."""

import asyncio
import socket
from collections import Counter

from clocks import ManualClock, settle


async def test_settling_lets_a_chain_of_tasks_go_on_to_its_end():
    links = [asyncio.Event() for _ in range(40)]

    async def pass_on(number):
        await links[number].wait()
        links[number + 1].set()

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(links) - 1):
            tasks.create_task(pass_on(number))
        await settle()
        assert not links[-1].is_set()
        links[0].set()
        await settle()
        assert links[-1].is_set()


async def test_settling_looks_at_sockets():
    one, other = socket.socketpair()
    arrived = asyncio.Event()
    asyncio.get_running_loop().add_reader(other, arrived.set)
    one.send(b"x")
    await settle()
    assert arrived.is_set()
    asyncio.get_running_loop().remove_reader(other)
    one.close()
    other.close()


async def test_an_hour_in_which_one_goes_on_each_second_takes_a_few_turns_each(monkeypatch):
    clock, turns = ManualClock(), Counter()
    sleep = asyncio.sleep

    async def counted(seconds):
        turns[seconds] += 1
        await sleep(seconds)

    async def each_second():
        for _ in range(3600):
            await clock.sleep(1)

    task = asyncio.create_task(each_second())
    monkeypatch.setattr(asyncio, "sleep", counted)
    await clock.advance(3600)
    assert task.done()
    assert turns[0] < 5 * 3600
