"""What the gateway can be told."""

from typing import Annotated

from pydantic import Field

from fairprice.runtime.settings import Duration, HttpSettings


class GatewaySettings(HttpSettings):
    """How much of the past it remembers, and when a price is too old to trust."""

    history_minutes: int = Field(15, ge=1, le=240, description="minutes of prices kept in memory for the chart")
    stale_after: Annotated[Duration, Field(gt=0)] = Field(5.0, description="age from which a price is not trusted")
