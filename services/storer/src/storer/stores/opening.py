"""Opens the store that the settings name."""

from storer.settings import StorerSettings
from storer.stores.address import InfluxAddress, SqliteAddress
from storer.stores.influxdb import open_influxdb
from storer.stores.port import Store
from storer.stores.sqlite import open_sqlite


async def open_store(settings: StorerSettings) -> Store:
    """Open it, inside the event loop that will use it.

    A SQLite file has to be usable now, else `StartupError` is raised; a server may come later.
    """
    match settings.store_url:
        case SqliteAddress(path):
            return await open_sqlite(path)
        case InfluxAddress() as address:
            return open_influxdb(
                address, settings.store_token, timeout=settings.store_timeout, compress=settings.store_gzip
            )
