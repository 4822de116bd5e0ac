"""The crawler's settings."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from crawler.selection import ALL, Selection, Shard
from crawler.venues.port import Venue
from crawler.venues.table import VENUES
from fairprice.runtime.settings import Decimals, Duration, ServiceSettings, Symbols


def _shard(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        return value or ALL
    match = re.fullmatch(r"(\d{1,4})\s*/\s*(\d{1,4})", value.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"write a share like 2/4, the second of four, not {value!r:.80}")
    return Shard(int(match[1]), int(match[2]))


class CrawlerSettings(ServiceSettings):
    """Settings of the crawler; addresses that are not set are the venue's own, which need no account."""

    venue: str = Field(next(iter(VENUES)), description=f"the exchange: {' or '.join(VENUES)}; addresses follow from it")
    book_levels: int = Field(20, ge=1, le=400, description="levels a side in a book event")
    symbols: Symbols = Field(
        ("BTCUSDT",), description="symbols to follow, comma-separated; also patterns: `*USDT`, `!*UPUSDT` (not these)"
    )
    shard: Annotated[Shard, BeforeValidator(_shard)] = Field(
        ALL, description="`2/4`: of these symbols the second of four stable shares; empty: all"
    )
    exchange_rest_url: str = Field("", description="where snapshots come from; empty: the venue's own host")
    exchange_stream_url: str = Field("", description="where diffs come from; empty: the venue's own host")
    address_share: float = Field(
        1.0, gt=0, le=1, description="part of the address's request weight and connection attempts to use"
    )
    depth_distances: Decimals = Field(
        tuple(map(Decimal, (1, 2, 5, 10, 25, 50, 100, 250, 500))),
        description="how far from the mid the whole known book is added up, basis points; empty: not at all",
    )
    depth_interval: Duration = Field(
        5.0,
        gt=0,
        description="exchange time between two such sums of a symbol; each costs the crawler as much as a few books",
    )
    quote_interval: Duration = Field(
        0.0,
        ge=0,
        description="least time between two quotes of a symbol, for the live view, like 10ms; 0s: none are made",
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

    def selection(self) -> Selection:
        """Return which symbols `symbols` and `shard` choose."""
        return Selection(self.symbols, self.shard)

    def the_venue(self) -> Venue:
        """Return the venue that `venue` names."""
        return VENUES[self.venue]

    def urls(self) -> tuple[str, str]:
        """Return the addresses of REST and streams in the venue's form."""
        venue = self.the_venue()
        return venue.normal_urls(self.exchange_rest_url or venue.rest_url, self.exchange_stream_url or venue.stream_url)
