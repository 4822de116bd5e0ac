"""The history that the settings name."""

from pydantic import SecretStr

from fairprice.store_address import InfluxAddress, SqliteAddress, StoreAddress
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
