"""The history in InfluxDB 2, asked by InfluxQL with a token that may read; bars of a minute have their own bucket."""

from typing import Any

from pydantic import SecretStr

from fairprice.influxql import InfluxQl, in_period, of_symbol
from fairprice.store_address import InfluxAddress
from gateway.key import Key
from gateway.stored.port import LONGEST_GAP, MOST_GAPS, Bar, Compared, StoredGap

BARS = "bars"
"""The bucket of the bars, which `storer provision` makes."""

TIMEOUT = 10.0
"""Seconds after which a question is given up that nobody has given up before."""

_TOKEN = "put a token that may read into FAIRPRICE_STORE_TOKEN or the file of FAIRPRICE_STORE_TOKEN_FILE"  # noqa: S105
_NOT_READABLE = f"the bucket is not there, or the token may not read it: {_TOKEN}; `storer provision` makes one"
_REMEDIES = {401: _TOKEN, 403: _NOT_READABLE, 404: _NOT_READABLE}

_TRUSTED = "(status = 'ok' OR status = 'locked')"
_TICKS = "first(price), max(price), min(price), last(price), mean(spread), count(price)"
_MINUTES = "first(open), max(high), min(low), last(close), mean(spread), sum(count), count(open)"
_COMPARISONS = "count(tops), sum(wrong), sum(levels_wrong)"
_GAP = "duration_ms, from_update_id, to_update_id, reason, open_ids"


class InfluxHistory:
    """See `History`; made inside the event loop that will use it."""

    def __init__(self, address: InfluxAddress, token: SecretStr, *, timeout: float = TIMEOUT) -> None:
        self._ticks = address.bucket
        self._server = InfluxQl(address.url, token, timeout, _REMEDIES)

    async def keys(self) -> list[Key]:
        """See `History.keys`."""
        query = "SELECT last(update_id) FROM fair_price GROUP BY venue, symbol"
        found = await self._server.ask(self._ticks, query)
        return sorted(map(_key, found))

    async def newest(self, key: Key) -> int | None:
        """See `History.newest`."""
        rows = await self._server.rows(self._ticks, f"SELECT last(update_id) FROM fair_price WHERE {of_symbol(*key)}")  # noqa: S608  quoted
        return rows[0][0] if rows else None

    async def ticks(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """See `History.ticks`."""
        rows = await self._grouped(self._ticks, f"{_TICKS} FROM fair_price", key, start, stop, step, _TRUSTED)
        return [Bar(*row) for row in rows if row[6]]

    async def minutes(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """See `History.minutes`."""
        rows = await self._grouped(BARS, f"{_MINUTES} FROM fair_price_1m", key, start, stop, step)
        return [Bar._make(row)._replace(prices=int(row[6])) for row in rows if row[7]]

    async def newest_minute(self, key: Key, before: int) -> int | None:
        """See `History.newest_minute`."""
        period = f"{of_symbol(*key)} AND {in_period(0, before)}"
        rows = await self._server.rows(BARS, f"SELECT last(open) FROM fair_price_1m WHERE {period}")  # noqa: S608  quoted
        return rows[0][0] if rows else None

    async def closes(self, start: int, stop: int) -> dict[Key, float]:
        """See `History.closes`."""
        query = f"SELECT last(close) FROM fair_price_1m WHERE {in_period(start, stop)} GROUP BY venue, symbol"  # noqa: S608
        return {_key(series): series["values"][0][1] for series in await self._server.ask(BARS, query)}

    async def compared(self, key: Key, start: int, stop: int, step: int) -> list[Compared]:
        """See `History.compared`."""
        rows = await self._grouped(self._ticks, f"{_COMPARISONS} FROM audit", key, start, stop, step)
        return [
            Compared(time, minutes or 0, int((wrong or 0) + (levels or 0))) for time, minutes, wrong, levels in rows
        ]

    async def gaps(self, key: Key, start: int, stop: int) -> list[StoredGap]:
        """See `History.gaps`."""
        period = f"{of_symbol(*key)} AND {in_period(start - LONGEST_GAP, stop)} AND open_ids > 0"
        rows = await self._server.rows(
            self._ticks,
            f"SELECT {_GAP} FROM gap WHERE {period} ORDER BY time DESC LIMIT {MOST_GAPS}",  # noqa: S608  quoted
        )
        found = [StoredGap(time, time + int(duration * 1000), *fields) for time, duration, *fields in reversed(rows)]
        return [gap for gap in found if gap.to_time >= start]

    async def close(self) -> None:
        """See `History.close`."""
        await self._server.close()

    async def _grouped(  # noqa: PLR0917
        self, bucket: str, what: str, key: Key, start: int, stop: int, step: int, condition: str = ""
    ) -> list[Any]:
        where = " AND ".join(filter(None, (of_symbol(*key), in_period(start, stop), condition)))
        return await self._server.rows(bucket, f"SELECT {what} WHERE {where} GROUP BY time({step}u) fill(none)")


def _key(series: Any) -> Key:
    return Key(series["tags"]["venue"], series["tags"]["symbol"])
