"""A history in memory that tests fill, slow down and take away."""

import asyncio

from gateway.stored.port import Bar, Compared


class KeptHistory:
    """Bars of a minute by symbol; `away` is what every call raises, each waits for `open`; `asked` counts the calls."""

    def __init__(self, *bars_of_minutes, key=None, ticks=()):
        self.bars = {key: list(bars_of_minutes)} if key else {}
        self.of_ticks = {key: list(ticks)} if key else {}
        self.of_compared = []
        self.of_gaps = []
        self.away = None
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.asked = []
        self.is_closed = False

    async def _turn(self, *question):
        self.asked.append(question)
        self.begun.set()
        await self.open.wait()
        if self.away:
            raise self.away

    async def keys(self):
        await self._turn("keys")
        return sorted(self.bars)

    async def newest(self, key):
        await self._turn("newest")
        times = [bar.time for bar in (*self.bars.get(key, ()), *self.of_ticks.get(key, ()))]
        return max(times, default=None)

    async def ticks(self, key, start, stop, step):
        await self._turn("ticks", start, stop, step)
        return [bar for bar in self.of_ticks.get(key, ()) if start <= bar.time < stop]

    async def minutes(self, key, start, stop, step):
        await self._turn("minutes", start, stop, step)
        return [bar for bar in self.bars.get(key, ()) if start <= bar.time < stop]

    async def newest_minute(self, key, before):
        return max((bar.time for bar in self.bars.get(key, ()) if bar.time < before), default=None)

    async def closes(self, start, stop):
        await self._turn("closes", start, stop)
        inside = {key: [bar for bar in bars if start <= bar.time < stop] for key, bars in self.bars.items()}
        return {key: bars[-1].close for key, bars in inside.items() if bars}

    async def compared(self, _key, start, stop, step):
        found = {}
        for each in self.of_compared:
            if start <= each.time < stop:
                begin = each.time // step * step
                _, minutes, wrong = found.get(begin, (begin, 0, 0))
                found[begin] = Compared(begin, minutes + each.minutes, wrong + each.wrong)
        return list(found.values())

    async def gaps(self, _key, start, stop):
        return [gap for gap in self.of_gaps if gap.from_time < stop and gap.to_time >= start]

    async def close(self):
        self.is_closed = True


def bar(time, close=1.0, *, minutes=1):
    return Bar(time, close, close + 1, close - 1, close, 0.5, 10, minutes)


def compared(time, minutes=1, wrong=0):
    return Compared(time, minutes, wrong)
