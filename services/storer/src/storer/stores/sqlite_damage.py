"""Damage of a SQLite file: found at the start, and told with the way to rescue what can be read."""

import sqlite3
from pathlib import Path
from shlex import quote
from threading import Timer

LOOK = 1.0
"""Seconds that a look at a file may take: some hundred megabytes from a disk, the whole of most files."""

_WORDS = ("malformed", "damaged")


class Damaged(sqlite3.DatabaseError):
    """What the file holds does not hang together."""


def refuse_damaged(connection: sqlite3.Connection, *, seconds: float = LOOK) -> None:
    """Raise `Damaged` where so long a look finds that the file is not whole; a long file is looked at in part."""
    limit = Timer(seconds, connection.interrupt)
    limit.start()
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
    else:
        if found != "ok":
            raise Damaged(f"damaged: {' '.join(found.split())}")
    finally:
        limit.cancel()
        limit.join()


def explained(path: Path, error: Exception) -> str:
    """Return what SQLite says of a file, and where it is damaged, how to rescue it."""
    text = str(error)
    if not any(word in text for word in _WORDS):
        return text
    return (
        f"the file is damaged ({text}). Stop what uses it, and copy what can be read into a new one: "
        f"python -m storer rescue {quote(str(path))}"
    )
