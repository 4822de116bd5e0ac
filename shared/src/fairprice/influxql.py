"""Questions to InfluxDB 2 by InfluxQL: it gives rows, where Flux would give each field a table of its own."""

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from fairprice.errors import StoreUnavailable

_FARTHEST = 9_223_372_036_854_774
"""Microseconds from the epoch to the last time that InfluxDB knows."""

_LONGEST_REASON = 400


class InfluxQl:
    """Asks a server; `timeout` is the seconds that an answer may take. Made inside the event loop that will use it.

    `remedies` tells by status what a person has to do; that of 403 also where the answer says that something is not
    there or not allowed.
    """

    def __init__(self, url: str, token: SecretStr, timeout: float, remedies: Mapping[int, str]) -> None:
        self._url = url
        self._token = token
        self._timeout = timeout
        self._remedies = remedies
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout))

    async def close(self) -> None:
        """Let the connections go."""
        await self._session.close()

    async def ask(self, bucket: str, query: str) -> list[Any]:
        """Return the series of the answer, times in microseconds; raises `StoreUnavailable` that says what to do."""
        body = await self._post({"db": bucket, "epoch": "u", "q": query})
        try:
            (result,) = orjson.loads(body)["results"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise self._unavailable(f"answered a query with something else than its result: {body[:80]!r}") from error
        if "error" in result:
            problem = str(result["error"])[:_LONGEST_REASON]
            remedy = f"; {self._remedies[403]}" if "not found" in problem or "authorized" in problem else ""
            raise self._unavailable(f"does not answer a query: {problem}{remedy}")
        series: list[Any] = result.get("series", [])
        return series

    async def rows(self, bucket: str, query: str) -> list[Any]:
        """Return the rows of all series of the answer; raises what `ask` does."""
        return [row for series in await self.ask(bucket, query) for row in series["values"]]

    async def _post(self, form: dict[str, str]) -> bytes:
        url, headers = f"{self._url}/query", self._headers()
        try:
            async with self._session.post(url, data=form, headers=headers, allow_redirects=False) as response:
                body = await response.read()
        except TimeoutError as error:
            raise self._unavailable(f"did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(f"cannot be reached: {error}") from error
        if response.status != 200:
            text = body[:_LONGEST_REASON].decode(errors="replace").strip()
            remedy = self._remedies.get(response.status)
            raise self._unavailable(f"answered {response.status}: {text}" + (f"; {remedy}" if remedy else ""))
        return body

    def _headers(self) -> dict[str, str]:
        """Return the token as it is now: a file's may have changed."""
        try:
            return {"Authorization": f"Token {self._token.get_secret_value()}"}
        except (OSError, ValueError) as error:
            raise StoreUnavailable(
                f"cannot read InfluxDB's token: {error}; `storer provision` puts it there"
            ) from error

    def _unavailable(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"InfluxDB at {self._url} {what}")


def of_symbol(venue: str, symbol: str) -> str:
    """Return the condition of a symbol's points."""
    return f"venue = {quoted_text(venue)} AND symbol = {quoted_text(symbol)}"


def in_period(start: int, stop: int) -> str:
    """Return the condition of points in [start, stop), in microseconds."""
    first, end = (max(-_FARTHEST, min(time, _FARTHEST)) for time in (start, stop))
    return f"time >= {first}u AND time < {end}u"


def quoted_names(names: Iterable[str]) -> str:
    """Return names of fields, as a SELECT has them."""
    return ", ".join(map(quoted_name, names))


def quoted_name(name: str) -> str:
    """Return a name that InfluxQL takes as it is."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quoted_text(text: str) -> str:
    """Return a text that InfluxQL takes as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
