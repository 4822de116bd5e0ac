"""The history that the settings name."""

import asyncio

from pydantic import SecretStr

from fairprice.errors import StoreUnavailable
from fairprice.store_address import InfluxAddress, SqliteAddress, StoreAddress
from gateway.key import Key
from gateway.stored.influxdb import InfluxHistory
from gateway.stored.port import History
from gateway.stored.sqlite import SqliteHistory


def open_history(address: StoreAddress, token: SecretStr) -> History:
    """Return it, inside the event loop that will use it; nothing is asked yet."""
    match address:
        case SqliteAddress(path):
            return SqliteHistory(path)
        case InfluxAddress():
            return InfluxHistory(address, token)


async def history_problem(history: History, *, seconds: float = 10.0) -> str | None:
    """Ask for prices and for bars, and return in words why there is no answer within so many seconds, or None."""
    nobody = Key("", "")
    try:
        async with asyncio.timeout(seconds):
            await history.newest(nobody)
            await history.newest_minute(nobody, 1)
    except (StoreUnavailable, TimeoutError) as error:
        return str(error) or f"the store did not answer within {seconds:g} s"
    return None
