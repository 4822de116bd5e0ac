"""The store of the pipeline of processes: a bucket of an InfluxDB 2 server.

What each reply of the server means: https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/
"""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException
from influxdb_client.service.ping_service import PingService
from pydantic import SecretStr

from fairprice.errors import StoreUnavailable
from fairprice.store_address import InfluxAddress
from storer.influx_version import PERHAPS_3, another_version, named_major
from storer.line_protocol import encode
from storer.measurements import Point
from storer.stores.influxql import InfluxReader
from storer.stores.port import Key, Rejection, Row

MAX_BODY = 1024 * 1024
"""Bytes of lines in one request; more are no faster, and proxies and aiohttp dislike larger bodies."""

SLOWLY = 10.0
"""Seconds before the next try when only a person can help."""

LONGEST_RETRY_AFTER = 60.0

_REMEDIES = {
    401: "put a valid token into FAIRPRICE_STORE_TOKEN or the file of FAIRPRICE_STORE_TOKEN_FILE",
    403: "give the token of FAIRPRICE_STORE_TOKEN the right to write to the bucket",
    404: "make the organization and the bucket, or name others in FAIRPRICE_STORE_URL",
}
_OTHER_REMEDY = "see whether FAIRPRICE_STORE_URL names an InfluxDB 2 and what stands between"
_PASSING = {408, 425, 429}
"""Replies of the four hundreds that are about the moment and not about the request."""

_ABOUT_LINES = re.compile("unable to parse|partial write")
"""In every 400 and 422 that is about lines; any other is about the request, and no line is to blame."""

_REFUSED_LINES = re.compile(r"dropped(?:=| )(\d+)")
_LONGEST_REASON = 400


def open_influxdb(
    address: InfluxAddress,
    token: SecretStr,
    *,
    timeout: float = 10.0,
    compress: bool = False,
    max_body: int = MAX_BODY,
) -> "InfluxStore":
    """Prepare a store, inside the running event loop that will use it; nothing is sent yet.

    `timeout` is the seconds a whole request may take. `compress` sends gzip, for slow links. `token` is asked again
    for its value whenever the server refuses the one it had. `max_body` is how many bytes of lines a request holds.
    """
    # Without TLS an empty context keeps the client from loading all of the system's certificates.
    tls = None if address.url.startswith("https:") else SSLContext(PROTOCOL_TLS_CLIENT)
    client = InfluxDBClientAsync(
        address.url, org=address.org, timeout=round(timeout * 1000), allow_redirects=False, ssl_context=tls
    )
    if compress:
        client.api_client.default_headers["Content-Encoding"] = "gzip"
    return InfluxStore(client, address, token, timeout, max_body, compress=compress)


@dataclass(slots=True)
class _Line:
    """A line and its point's position in the batch."""

    index: int
    text: bytes


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The server keeps at least `count` of the lines of a request for bad, whatever it did with the others."""

    count: int
    reason: str


class InfluxStore:
    """See `Store`; made by `open_influxdb`."""

    def __init__(
        self,
        client: InfluxDBClientAsync,
        address: InfluxAddress,
        token: SecretStr,
        timeout: float,
        max_body: int,
        *,
        compress: bool,
    ) -> None:
        self._client = client
        self._api = client.write_api()
        self._pings = PingService(client.api_client)  # type: ignore[no-untyped-call]
        self._address = address
        self._token = token
        self._timeout = timeout
        self._max_body = max_body
        self._compress = compress
        self._reader = InfluxReader(address, token, timeout)
        self._known_token: str | None = None
        self._is_version_known = False  # becomes false again when the server is lost: another may come back
        self._guards_ping = False

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        """See `Store.write`."""
        lines, rejections = _encode(points)
        for part in _parts(lines, self._max_body):
            rejections += await self._settle(part)
        return sorted(rejections, key=lambda rejection: rejection.index)

    async def ping(self) -> None:
        """See `Store.ping`; an empty write needs the same address, bucket and right as any other."""
        if refusal := await self._send(()):
            raise self._unavailable(refusal.reason)

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """See `Reader.keys`."""
        return await self._reader.keys(measurement, start, stop)

    async def fields(self, measurement: str) -> list[str]:
        """See `Reader.fields`."""
        return await self._reader.fields(measurement)

    def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """See `Reader.rows`."""
        return self._reader.rows(measurement, fields, venue, symbol, start, stop)

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """See `Reader.last`."""
        return await self._reader.last(measurement, fields, venue, symbol, before)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._reader.close()
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _settle(self, lines: Sequence[_Line]) -> list[Rejection]:
        """Write the lines; halve what the server refuses until the bad ones stand alone.

        A bad line costs about 2 log2(n) requests. To send a good line again changes nothing, so it does not matter
        which of the others the server has kept, nor that the whole batch comes again if it goes away in between.
        """
        refusal = await self._send(lines)
        if not refusal:
            return []
        if len(lines) <= max(1, refusal.count):
            return [Rejection(line.index, refusal.reason) for line in lines]
        middle = len(lines) // 2
        return await self._settle(lines[:middle]) + await self._settle(lines[middle:])

    async def _send(self, lines: Sequence[_Line]) -> _Refusal | None:
        body = b"\n".join(line.text for line in lines)
        if self._compress:
            body = await asyncio.to_thread(gzip.compress, body, compresslevel=1)
        if self._known_token is None:
            self._read_token()
        try:
            if not self._is_version_known:
                await self._refuse_another_version()
            written = await self._api.write(
                self._address.bucket,
                record=body,
                write_precision="us",  # type: ignore[arg-type]  # `WritePrecision` is a list of strings
            )
        except ApiException as error:
            return self._judge(error)
        except TimeoutError as error:
            self._is_version_known = False
            raise self._unavailable(f"did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            self._is_version_known = False
            raise self._unavailable(f"cannot be reached: {error}") from error
        if not written:
            raise self._unavailable(f"answered something else than 204; {_OTHER_REMEDY}", SLOWLY)
        return None

    async def _refuse_another_version(self) -> None:
        """Raise `StoreUnavailable` where the server says that it is an InfluxDB 3, which would take the lines.

        It would not keep them as promised. Version 1 is let alone: other databases name themselves so.
        """
        try:
            _, _, headers = await self._pings.get_ping_async(  # type: ignore[no-untyped-call]
                _return_http_data_only=False
            )
        except ApiException as error:  # the write will tell what is wrong, if anything
            self._guards_ping = error.status == 401
            self._is_version_known = error.status < 500 and not self._guards_ping
            return
        if (named_major(headers) or 0) > 2:
            raise self._unavailable(another_version(headers), SLOWLY)
        self._is_version_known = True

    def _judge(self, error: ApiException) -> _Refusal:
        """Return why lines were refused; raises `StoreUnavailable` when the reply is not about lines."""
        status, text = error.status, _shortened(_text(error))
        if status == 413 or (status in {400, 422} and _ABOUT_LINES.search(_text(error))):
            return _Refusal(_refused_lines(_text(error)), f"InfluxDB refused it with {status}: {text}")
        if not 300 <= status < 500 or status in _PASSING:
            raise self._unavailable(f"answered {status}: {text}", _seconds(error.retry_after)) from error
        problem = f"answered {status}: {text}; {_REMEDIES.get(status, _OTHER_REMEDY)}"
        if status == 401 and self._guards_ping:
            problem += f"; or {PERHAPS_3}"
        renewed = status in {401, 403} and self._read_token()
        raise self._unavailable(problem, None if renewed else SLOWLY) from error

    def _read_token(self) -> bool:
        """Take the token as it is now; return whether it is another than before."""
        before = self._known_token
        try:
            self._known_token = self._token.get_secret_value()
        except (OSError, ValueError) as error:
            raise StoreUnavailable(f"cannot read InfluxDB's token: {error}", SLOWLY) from error
        self._client.api_client.default_headers["Authorization"] = f"Token {self._known_token}"
        return before != self._known_token

    def _unavailable(self, what: str, retry_after: float | None = None) -> StoreUnavailable:
        return StoreUnavailable(f"InfluxDB at {self._address.url} {what}", retry_after)


def _encode(points: Sequence[Point]) -> tuple[list[_Line], list[Rejection]]:
    lines, rejections = [], []
    for index, point in enumerate(points):
        try:
            lines.append(_Line(index, encode(point)))
        except ValueError as error:
            rejections.append(Rejection(index, str(error)))
    return lines, rejections


def _parts(lines: list[_Line], max_body: int) -> Iterator[list[_Line]]:
    """Yield the lines in pieces of at most `max_body` bytes."""
    part: list[_Line] = []
    size = 0
    for line in lines:
        size += len(line.text) + 1
        if part and size > max_body:
            yield part
            part, size = [], len(line.text) + 1
        part.append(line)
    if part:
        yield part


def _text(error: ApiException) -> str:
    text = error.message
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _shortened(text: str) -> str:
    """Return the text without its middle if it is long: a refusal repeats the line before it says why."""
    half = _LONGEST_REASON // 2
    return text if len(text) <= _LONGEST_REASON else f"{text[:half]} ... {text[-half:]}"


def _refused_lines(text: str) -> int:
    """Return how many lines a refusal counts; it may count fewer than there are, never more."""
    dropped = _REFUSED_LINES.search(text)
    return int(dropped[1]) if dropped else text.count("unable to parse '")


def _seconds(retry_after: str | None) -> float | None:
    """Return the wait that the server asks for, within reason; a date, which no InfluxDB sends, counts as none."""
    return min(float(retry_after), LONGEST_RETRY_AFTER) if retry_after and retry_after.isdecimal() else None
