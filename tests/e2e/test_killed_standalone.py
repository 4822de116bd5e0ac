"""What a kill of the embedded pipeline takes with it, broker and all, is a gap at the next start."""

import sqlite3
from itertools import pairwise

from test_standalone import backlog, count, running
from waiting import eventually


def test_what_had_not_reached_the_database_is_a_gap_of_the_next_run(rows_of, tmp_path):
    database = tmp_path / "x.db"
    with running("simulator", "--port", 0, "--symbols", "BTCUSDT") as (_, exchange):
        settings = {
            "FAIRPRICE_EXCHANGE_REST_URL": f"http://{exchange}",
            "FAIRPRICE_EXCHANGE_STREAM_URL": f"ws://{exchange}",
        }
        live = ("standalone", "--live", "--port", 0, "--database", database)
        with running(*live, **settings) as (process, address):
            eventually(lambda: count(database, "fair_price") > 25)
            holder = sqlite3.connect(database, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")  # the broker takes what the database does not
            waiting = backlog(address)
            eventually(lambda: backlog(address) > waiting + 30)
            process.kill()
            process.wait()
            holder.close()
        stored = count(database, "fair_price")
        with running(*live, **settings):
            eventually(lambda: count(database, "fair_price") > stored + 10)

    rows = rows_of(database)
    assert [gap["reason"] for gap in rows["gap"]] == ["restart"]
    ranges = sorted(
        [(row["first_update_id"], row["update_id"]) for row in rows["fair_price"]]
        + [(row["from_update_id"], row["to_update_id"]) for row in rows["gap"]]
    )
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(ranges))
