"""The crawler's settings."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from crawler.venues.port import Venue
from crawler.venues.table import VENUES
from fairprice.runtime.settings import Duration, ServiceSettings, Symbols


class CrawlerSettings(ServiceSettings):
    """Settings of the crawler; addresses that are not set are the venue's own, which need no account."""

    venue: str = Field(next(iter(VENUES)), description=f"the exchange: {' or '.join(VENUES)}; addresses follow from it")
    book_levels: int = Field(20, ge=1, le=400, description="levels a side in a book event")
    symbols: Symbols = Field(("BTCUSDT",), description="symbols to follow, comma-separated")
    exchange_rest_url: str = Field("", description="where snapshots come from; empty: the venue's own host")
    exchange_stream_url: str = Field("", description="where diffs come from; empty: the venue's own host")
    address_share: float = Field(
        1.0, gt=0, le=1, description="part of the address's request weight and connection attempts to use"
    )
    snapshot_levels: int = Field(
        1000, ge=100, le=5000, description="levels a side in a snapshot; more weigh more, a venue may have fewer"
    )
    stream_connections: int = Field(
        2, ge=1, le=4, description="stream connections, merged by update id, so that losing one loses nothing"
    )
    silence_timeout: Duration = Field(
        10.0, gt=0, description="a symbol silent for so long is asked for, its stream replaced if it has stalled"
    )
    state_dir: Path | None = Field(
        Path("var/state"), description="where the last confirmed update ids are kept, so that a restart records its gap"
    )

    @field_validator("venue")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name.lower() not in VENUES:
            raise ValueError(f"write one of {', '.join(VENUES)}")
        return name.lower()

    @field_validator("exchange_rest_url", "exchange_stream_url")
    @classmethod
    def _is_address(cls, url: str, info: ValidationInfo) -> str:
        if url and (venue := VENUES.get(info.data.get("venue", ""))):
            own = {"exchange_rest_url": venue.rest_url, "exchange_stream_url": venue.stream_url}
            venue.normal_urls(*(own | {str(info.field_name): url}).values())
        return url

    def the_venue(self) -> Venue:
        """Return the venue that `venue` names."""
        return VENUES[self.venue]

    def urls(self) -> tuple[str, str]:
        """Return the addresses of REST and streams in the venue's form."""
        venue = self.the_venue()
        return venue.normal_urls(self.exchange_rest_url or venue.rest_url, self.exchange_stream_url or venue.stream_url)
