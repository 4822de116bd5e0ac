"""The query that steps from symbol to symbol, on real tables."""

import sqlite3
from contextlib import closing

import pytest

from fairprice.sqlite_keys import following_key

KEYS = [("a", "x"), ("a", "y"), ("b", "w"), ("c", "x")]


def stepped(rows, *, backwards=False):
    """Return the keys of a table with so many rows of each, and the steps that SQLite took to find them."""
    steps = []
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (venue, symbol, time, PRIMARY KEY (venue, symbol, time)) WITHOUT ROWID")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(*key, time) for key in KEYS for time in range(rows)])
        connection.set_progress_handler(lambda: steps.append(1), 1)
        found, key = [], ("\U0010ffff", "") if backwards else ("", "")
        while key := connection.execute(following_key("t", backwards=backwards), key).fetchone():
            found.append(key)
    return found, len(steps)


@pytest.mark.parametrize("backwards", [False, True])
def test_every_symbol_of_every_venue_is_found_in_order(backwards):
    assert stepped(3, backwards=backwards)[0] == (KEYS[::-1] if backwards else KEYS)
    assert stepped(0, backwards=backwards)[0] == []


@pytest.mark.parametrize("backwards", [False, True])
def test_it_takes_as_many_steps_however_many_rows_a_symbol_has(backwards):
    assert stepped(2000, backwards=backwards)[1] < 2 * stepped(2, backwards=backwards)[1]
