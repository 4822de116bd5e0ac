"""A store in memory, for what is worked out from rows."""

from collections.abc import AsyncIterator, Sequence

from exchange_data import START

from storer.measurements import Point
from storer.stores.port import Rejection


class Store:
    """Points by key; `looks` are the periods of prices that were read, `broken` what every call raises."""

    def __init__(self, clock, *points):
        self.points = {}
        self.looks = []
        self.broken = None
        self.seconds = 0.0
        self.writes = 0
        self._clock = clock
        for point in points:
            self.put(point)

    def put(self, point):
        self.points[point.measurement, point.venue, point.symbol, point.time] = point

    def open_ids(self):
        return [point.fields["open_ids"] for key, point in sorted(self.points.items()) if key[0] == "gap"]

    async def keys(self, measurement: str, start: int, stop: int) -> list[tuple[str, str]]:
        if self.broken:
            raise self.broken
        return sorted({key[1:3] for key in self.points if key[0] == measurement and start <= key[3] < stop})

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[tuple[object, ...]]:
        if measurement == "fair_price":
            self.looks.append((start - START, stop - START))
            if self.seconds:
                await self._clock.sleep(self.seconds)
        for key, point in sorted(self.points.items()):
            if key[:3] == (measurement, venue, symbol) and start <= key[3] < stop:
                yield (point.time, *(point.fields.get(name) for name in fields))

    async def last(
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int
    ) -> tuple[object, ...] | None:
        series = [point for key, point in sorted(self.points.items()) if key[:3] == (measurement, venue, symbol)]
        earlier = [point for point in series if point.time < before]
        return (earlier[-1].time, *(earlier[-1].fields.get(name) for name in fields)) if earlier else None

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        self.writes += 1
        for point in points:
            self.put(point)
        return []
