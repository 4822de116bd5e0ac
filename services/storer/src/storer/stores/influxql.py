"""Reading points from InfluxDB 2, by InfluxQL: it gives rows, where Flux would give each field a table of its own.

A page is asked for at a time: a streamed answer (`chunked`) takes a quarter less, and no reader may be slow with one.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from fairprice.errors import StoreUnavailable
from storer.stores.address import InfluxAddress
from storer.stores.port import Key, Row

PAGE = 20_000
"""Rows that are asked for at once: some megabytes, a fraction of a second."""

_FARTHEST = 9_223_372_036_854_774
"""Microseconds from the epoch to the last time that InfluxDB knows."""

_NOT_READABLE = (
    "the bucket is not there, or the token of FAIRPRICE_STORE_TOKEN may not read it: `storer provision` gives the "
    "storer's token that right"
)
_REFUSED = "put a valid token into FAIRPRICE_STORE_TOKEN or the file of FAIRPRICE_STORE_TOKEN_FILE"
_PERSONAL = {401: _REFUSED, 403: _NOT_READABLE, 404: _NOT_READABLE}
_LONGEST_REASON = 400


class InfluxReader:
    """See `Reader`; `timeout` is the seconds that a page may take. Made inside the event loop that will use it."""

    def __init__(self, address: InfluxAddress, token: SecretStr, timeout: float, *, page: int = PAGE) -> None:
        self._address = address
        self._token = token
        self._timeout = timeout
        self._page = page
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout))

    async def close(self) -> None:
        """Let the connections go."""
        await self._session.close()

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """See `Reader.keys`."""
        period = _period(start, stop)
        query = f"SELECT * FROM {_name(measurement)} WHERE {period} GROUP BY venue, symbol LIMIT 1"  # noqa: S608
        found = await self._ask(query)
        return sorted((series["tags"]["venue"], series["tags"]["symbol"]) for series in found)

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """See `Reader.rows`."""
        wanted = f"SELECT {_names(fields)} FROM {_name(measurement)}"  # noqa: S608  every name and text is quoted
        whose = _whose(venue, symbol)
        while True:
            query = f"{wanted} WHERE {whose} AND {_period(start, stop)} ORDER BY time LIMIT {self._page}"
            rows = [row for series in await self._ask(query) for row in series["values"]]
            for row in rows:
                yield tuple(row)
            if len(rows) < self._page:
                return
            start = rows[-1][0] + 1

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """See `Reader.last`."""
        wanted = f"SELECT {_names(fields)} FROM {_name(measurement)}"  # noqa: S608  every name and text is quoted
        period = f"{_whose(venue, symbol)} AND {_period(0, before)}"
        rows = [
            row
            for series in await self._ask(f"{wanted} WHERE {period} ORDER BY time DESC LIMIT 1")
            for row in series["values"]
        ]
        return tuple(rows[0]) if rows else None

    async def _ask(self, query: str) -> list[Any]:
        """Return the series of the answer."""
        body = await self._post({"db": self._address.bucket, "epoch": "u", "q": query})
        try:
            (result,) = orjson.loads(body)["results"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise self._unavailable(f"answered a query with something else than its result: {body[:80]!r}") from error
        if "error" in result:
            problem = str(result["error"])[:_LONGEST_REASON]
            remedy = f"; {_NOT_READABLE}" if "not found" in problem or "authorized" in problem else ""
            raise self._unavailable(f"does not answer a query: {problem}{remedy}")
        series: list[Any] = result.get("series", [])
        return series

    async def _post(self, form: dict[str, str]) -> bytes:
        url, headers = f"{self._address.url}/query", self._headers()
        try:
            async with self._session.post(url, data=form, headers=headers, allow_redirects=False) as response:
                body = await response.read()
        except TimeoutError as error:
            raise self._unavailable(f"did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(f"cannot be reached: {error}") from error
        if response.status != 200:
            text = body[:_LONGEST_REASON].decode(errors="replace").strip()
            remedy = _PERSONAL.get(response.status)
            raise self._unavailable(f"answered {response.status}: {text}" + (f"; {remedy}" if remedy else ""))
        return body

    def _headers(self) -> dict[str, str]:
        """Return the token as it is now: a file's may have changed."""
        try:
            return {"Authorization": f"Token {self._token.get_secret_value()}"}
        except (OSError, ValueError) as error:
            raise StoreUnavailable(f"cannot read InfluxDB's token: {error}") from error

    def _unavailable(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"InfluxDB at {self._address.url} {what}")


def _whose(venue: str, symbol: str) -> str:
    return f"venue = {_text(venue)} AND symbol = {_text(symbol)}"


def _period(start: int, stop: int) -> str:
    first, end = (max(-_FARTHEST, min(time, _FARTHEST)) for time in (start, stop))
    return f"time >= {first}u AND time < {end}u"


def _names(fields: Iterable[str]) -> str:
    return ", ".join(map(_name, fields))


def _name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
