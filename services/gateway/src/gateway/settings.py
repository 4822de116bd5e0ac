"""What the gateway can be told."""

from typing import Annotated

from pydantic import Field

from fairprice.runtime.settings import Duration, ServiceSettings


class GatewaySettings(ServiceSettings):
    """Where the page is served, how much of the past it remembers, and when a price is too old to trust."""

    http_host: str = Field("127.0.0.1", description="address the page is served on; 0.0.0.0 opens it to the network")
    http_port: int = Field(8000, ge=0, le=65535, description="port the page is served on; 0 takes any free one")
    history_minutes: int = Field(15, ge=1, le=240, description="minutes of prices kept in memory for the chart")
    stale_after: Annotated[Duration, Field(gt=0)] = Field(5.0, description="age from which a price is not trusted")
