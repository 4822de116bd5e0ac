"""What the storer can be told."""

from pydantic import Field

from fairprice.runtime.settings import BookSettings, Duration


class StorerSettings(BookSettings):
    """What is stored, and in which batches."""

    store_book_interval: Duration = Field(
        1.0, description="the first book of each such interval is stored; 0s stores every book"
    )
    store_batch_rows: int = Field(5000, ge=1, le=100_000, description="rows after which a batch is written")
    store_batch_age: Duration = Field(
        0.0, description="how long a batch waits to fill up; 0s writes as soon as the store is free"
    )
