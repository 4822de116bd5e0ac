"""A look at the store that the settings name, for whoever only reads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

from fairprice.store_address import InfluxAddress, SqliteAddress
from storer.settings import StorerSettings
from storer.stores.influxql import InfluxReader
from storer.stores.port import Reader
from storer.stores.sqlite_reader import open_sqlite_reader


@asynccontextmanager
async def opened_reader(settings: StorerSettings) -> AsyncIterator[tuple[Reader, str | None]]:
    """Open the store to read only; yield it and what its rows come from, if that is known.

    Raises `StartupError` where a file is none that can be read; a server is asked when rows are.
    """
    match settings.store_url:
        case SqliteAddress(path):
            file = await open_sqlite_reader(path)
            try:
                yield file, await file.origin()
            finally:
                await file.close()
        case InfluxAddress() as address:
            server = InfluxReader(address, settings.store_token, settings.store_timeout)
            try:
                yield server, None
            finally:
                await server.close()
        case other:
            assert_never(other)  # mypy names an address that has no case here; what yields nothing lacks no return
