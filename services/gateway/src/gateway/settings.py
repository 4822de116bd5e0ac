"""The gateway's settings."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from fairprice.runtime.settings import Duration, HttpSettings
from fairprice.store_settings import StoreSettings


def _names(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def _is_name(name: str) -> str:
    if any(character in name for character in "/*@ ") or name.count(":") == 1:
        raise ValueError("write names like prices.example.org, without http:// and without a port")
    return name


HostNames = Annotated[tuple[Annotated[str, BeforeValidator(_is_name)], ...], BeforeValidator(_names)]


class GatewaySettings(HttpSettings, StoreSettings):
    """Under which names it answers, where it reads the past, and when a price is too old to trust."""

    awaited: ClassVar[frozenset[str]] = frozenset({"store_token"})  # without it there is no past, and all else

    http_names: HostNames = Field(
        (), description="further host names under which the page is reached, like prices.example.org; no others answer"
    )
    history_minutes: int = Field(15, ge=1, le=240, description="minutes of prices kept in memory for the chart")
    max_symbols: int = Field(2000, ge=1, le=10_000, description="symbols shown; those that come later are not")
    basis_bound: float = Field(
        100.0, gt=0, description="basis points between two venues' mids from which on one of them is doubted"
    )
    stale_after: Annotated[Duration, Field(gt=0)] = Field(5.0, description="age from which a price is not trusted")
