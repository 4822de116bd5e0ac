"""What the rows of a SQLite file come from: a mark in the file, so that those of different origins never mix."""

import sqlite3

EXCHANGE = "an exchange"
RECORDING = "a recording"
MADE_UP = "a made-up market"

ORIGINS = {EXCHANGE: 0x46505201, RECORDING: 0x46505202, MADE_UP: 0x46505203}
"""Each with the `application_id` of its files."""


class OtherOrigin(sqlite3.Error):
    """The file holds rows that do not belong with those that are to be stored."""


def origin_of(connection: sqlite3.Connection) -> str | None:
    """Return what the file's rows come from, None where it bears no mark of ours."""
    [found] = connection.execute("PRAGMA application_id").fetchone()
    return next((name for name, mark in ORIGINS.items() if mark == found), None)


def mark(connection: sqlite3.Connection, origin: str) -> None:
    """Mark the file with the origin of its rows; raises `OtherOrigin` where it bears another mark."""
    [found] = connection.execute("PRAGMA application_id").fetchone()
    if not found:
        connection.execute(f"PRAGMA application_id = {ORIGINS[origin]}")
    elif found != ORIGINS[origin]:
        other = origin_of(connection) or "another program"
        raise OtherOrigin(f"it holds rows of {other}, among which rows of {origin} do not belong")
