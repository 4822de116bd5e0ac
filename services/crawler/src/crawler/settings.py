"""What the crawler can be told."""

from pathlib import Path

from pydantic import Field

from fairprice.runtime.settings import Duration, ServiceSettings, Symbols


class CrawlerSettings(ServiceSettings):
    """Settings of the crawler; the hosts are Binance's market-data-only ones, which need no account."""

    book_levels: int = Field(20, ge=1, le=400, description="levels a side in a book event")
    symbols: Symbols = Field(("BTCUSDT",), description="symbols to follow, comma-separated")
    exchange_rest_url: str = Field("https://data-api.binance.vision", description="where snapshots come from")
    exchange_stream_url: str = Field("wss://data-stream.binance.vision", description="where diffs come from")
    snapshot_levels: int = Field(
        1000, ge=100, le=5000, description="levels a side in a snapshot; Binance's weight is 50 up to 1000, 250 above"
    )
    stream_connections: int = Field(
        2, ge=1, le=4, description="stream connections, merged by update id, so that losing one loses nothing"
    )
    silence_timeout: Duration = Field(
        10.0, gt=0, description="a stream silent for so long, and for 20 times its usual interval, is reconnected"
    )
    state_dir: Path | None = Field(
        Path("var/state"), description="where the last confirmed update ids are kept, so that a restart records its gap"
    )
