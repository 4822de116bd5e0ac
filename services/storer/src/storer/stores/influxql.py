"""Reading points from InfluxDB 2.

A page is asked for at a time: a streamed answer (`chunked`) takes a quarter less, and no reader may be slow with one.
"""

from collections.abc import AsyncIterator, Sequence

from pydantic import SecretStr

from fairprice.influxql import InfluxQl, in_period, of_symbol, quoted_name, quoted_names
from fairprice.store_address import InfluxAddress
from storer.stores.port import Key, Row

PAGE = 20_000
"""Rows that are asked for at once: some megabytes, a fraction of a second."""

_NOT_READABLE = (
    "the bucket is not there, or the token of FAIRPRICE_STORE_TOKEN may not read it: `storer provision` gives the "
    "storer's token that right"
)
_REFUSED = "put a valid token into FAIRPRICE_STORE_TOKEN or the file of FAIRPRICE_STORE_TOKEN_FILE"
_REMEDIES = {401: _REFUSED, 403: _NOT_READABLE, 404: _NOT_READABLE}


class InfluxReader:
    """See `Reader`; `timeout` is the seconds that a page may take. Made inside the event loop that will use it."""

    def __init__(self, address: InfluxAddress, token: SecretStr, timeout: float, *, page: int = PAGE) -> None:
        self._bucket = address.bucket
        self._server = InfluxQl(address.url, token, timeout, _REMEDIES)
        self._page = page

    async def close(self) -> None:
        """Let the connections go."""
        await self._server.close()

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """See `Reader.keys`."""
        table, period = quoted_name(measurement), in_period(start, stop)
        query = f"SELECT * FROM {table} WHERE {period} GROUP BY venue, symbol LIMIT 1"  # noqa: S608
        found = await self._server.ask(self._bucket, query)
        return sorted((series["tags"]["venue"], series["tags"]["symbol"]) for series in found)

    async def fields(self, measurement: str) -> list[str]:
        """See `Reader.fields`."""
        found = await self._server.rows(self._bucket, f"SHOW FIELD KEYS FROM {quoted_name(measurement)}")
        return sorted(name for name, *_ in found)

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """See `Reader.rows`."""
        if not fields:  # there is no such SELECT; a measurement of which there is nothing has no fields
            return
        wanted = f"SELECT {quoted_names(fields)} FROM {quoted_name(measurement)}"  # noqa: S608  every name is quoted
        whose = of_symbol(venue, symbol)
        while True:
            query = f"{wanted} WHERE {whose} AND {in_period(start, stop)} ORDER BY time LIMIT {self._page}"
            rows = await self._server.rows(self._bucket, query)
            for row in rows:
                yield tuple(row)
            if len(rows) < self._page:
                return
            start = rows[-1][0] + 1

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """See `Reader.last`."""
        wanted = f"SELECT {quoted_names(fields)} FROM {quoted_name(measurement)}"  # noqa: S608  every name is quoted
        period = f"{of_symbol(venue, symbol)} AND {in_period(0, before)}"
        rows = await self._server.rows(self._bucket, f"{wanted} WHERE {period} ORDER BY time DESC LIMIT 1")
        return tuple(rows[0]) if rows else None
