"""One websocket connection to Binance's combined streams: subscribes, answers pings, yields frames.

Source: web-socket-streams.md. At most five messages a second may be sent, pongs included; a subscription in the URL may
be too long, so the names go in control messages of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import orjson

from fairprice.errors import ExchangeUnavailable, StartupError

CONNECT_TIMEOUT = 10.0
NAMES_PER_MESSAGE = 200
SECONDS_PER_MESSAGE = 0.3
MAX_FRAME_BYTES = 8 * 1024 * 1024


def stream_names(symbols: Iterable[str]) -> list[str]:
    """Return the names of the streams that the crawler reads: diffs every 100 ms and every change of the top."""
    return [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("depth@100ms", "bookTicker")]


class Connection:
    """An open connection; `frames` ends when it is closed, by whichever side."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket

    async def subscribe(self, names: list[str]) -> None:
        """Ask for streams, in as many messages as it takes; the answers come among the frames.

        Raises `ExchangeUnavailable` when the connection is closed meanwhile.
        """
        for number, start in enumerate(range(0, len(names), NAMES_PER_MESSAGE), 1):
            if number > 1:
                await asyncio.sleep(SECONDS_PER_MESSAGE)
            request = {"method": "SUBSCRIBE", "params": names[start : start + NAMES_PER_MESSAGE], "id": number}
            try:
                await self._socket.send_str(orjson.dumps(request).decode())
            except (aiohttp.ClientError, OSError) as error:
                raise ExchangeUnavailable(f"the stream was closed during the subscription: {error}") from error

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield frames as they come."""
        while (message := await self._socket.receive()).type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            yield message.data

    @property
    def ending(self) -> str:
        """Why the connection ended, for the log."""
        error = self._socket.exception()
        return repr(error) if error else f"close code {self._socket.close_code}"

    async def close(self) -> None:
        """Close from this side."""
        await self._socket.close()


@asynccontextmanager
async def connect(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Connection]:
    """Open a connection to the combined streams.

    Raises `ExchangeUnavailable` when that may succeed later, `StartupError` when the exchange refuses for good.
    """
    address = f"{url.rstrip('/')}/stream?timeUnit=MICROSECOND"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            socket = await session.ws_connect(address, max_msg_size=MAX_FRAME_BYTES, decode_text=False)
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 451:
            raise StartupError(
                f"{address} answered 451: the exchange does not serve this place from this host; asking again will not "
                "help. FAIRPRICE_EXCHANGE_REST_URL and FAIRPRICE_EXCHANGE_STREAM_URL choose other hosts"
            ) from error
        raise ExchangeUnavailable(f"{address} answered {error.status}: {error.message}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ExchangeUnavailable(f"{address}: {str(error) or f'no answer within {CONNECT_TIMEOUT:.0f} s'}") from error
    try:
        yield Connection(socket)
    finally:
        await socket.close()
