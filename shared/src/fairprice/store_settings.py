"""Where points are kept, for whoever writes them and whoever reads them."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from fairprice.runtime.settings import FileSecret, ServiceSettings
from fairprice.store_address import InfluxAddress, StoreAddress, parse


def _address(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def _one_line(value: SecretStr) -> SecretStr:
    is_in_file = isinstance(value, FileSecret)  # which looks at what it reads, each time
    if not is_in_file and not value.get_secret_value().isprintable():
        raise ValueError("write the token alone, in one line")
    return value


class StoreSettings(ServiceSettings):
    """The store, and the secret that opens it."""

    store_url: Annotated[StoreAddress, BeforeValidator(_address)] = Field(
        InfluxAddress("http://localhost:8086", "market", "ticks"),
        description="where prices are stored, and their history is read; influxdbs:// for TLS, or sqlite:///PATH",
    )
    store_token: Annotated[SecretStr, AfterValidator(_one_line)] = Field(
        SecretStr(""), description="InfluxDB's token; provision needs the operator's, the gateway one that may read"
    )
