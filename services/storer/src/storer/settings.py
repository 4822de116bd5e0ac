"""The storer's settings."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from fairprice.runtime.settings import Duration
from fairprice.store_settings import StoreSettings
from storer.stores.sqlite_bars import HOUR
from storer.stores.sqlite_retention import Bounds

_HOURS = {"h": 1, "d": 24, "w": 168}
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def _in(units: Mapping[str, int], remedy: str) -> BeforeValidator:
    """Read a whole number with one of these units, or none, which is 0; `remedy` says how to write it."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "none":
            return 0
        match = re.fullmatch(rf"([1-9][0-9]{{0,5}})({'|'.join(units)})", value)
        if not match:
            raise ValueError(f"write {remedy}")
        return int(match[1]) * units[match[2]]

    return BeforeValidator(read)


Hours = Annotated[int, _in(_HOURS, "whole hours, days or weeks like 36h, 7d or 4w, or none to keep everything")]
Bytes = Annotated[int, _in(_BYTES, "a whole number with its unit like 500MB or 20GB, or none for no bound")]


class StorerSettings(StoreSettings):
    """Where points are stored, which ones, and in which batches."""

    store_timeout: Annotated[Duration, Field(gt=0)] = Field(10.0, description="how long a write may take")
    store_gzip: bool = Field(False, description="compress what is written, for a slow link")  # noqa: FBT003
    store_retention: Hours = Field(
        168, ge=0, description="how long all but the bars of a minute is kept, like 36h or 7d; none keeps all"
    )
    store_max_size: Bytes = Field(
        20 * 10**9,
        ge=0,
        description="from which size on a SQLite file gives its oldest rows up, like 500MB; none: never",
    )
    # four columns a level, and SQLite allows 2,000
    book_levels: int = Field(20, ge=1, le=400, description="levels a side in a book event")
    store_book_interval: Duration = Field(
        1.0, description="the first book of each such interval is stored; 0s stores every book"
    )
    store_batch_rows: int = Field(5000, ge=1, le=100_000, description="rows after which a batch is written")
    store_batch_age: Duration = Field(
        0.0, description="how long a batch waits to fill up; 0s writes as soon as the store is free"
    )

    @property
    def bounds(self) -> Bounds:
        """How much a SQLite file keeps."""
        return Bounds(self.store_retention * HOUR, self.store_max_size)
