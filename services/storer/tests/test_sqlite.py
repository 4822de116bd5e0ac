"""The SQLite store: what is kept, what is refused, and what survives."""

import asyncio
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Event

import pytest
import structlog
from store_contract import Kept, StoreContract
from waiting import PATIENCE

from fairprice.errors import StartupError, StoreUnavailable
from storer.measurements import Point, Value
from storer.stores.sqlite import MAX_COLUMNS, open_sqlite


def point(time: int, update_id: int = 1, *, symbol: str = "BTCUSDT", **fields: Value) -> Point:
    return Point("fair_price", time, "binance", symbol, {"price": 1.5, **fields, "update_id": update_id})


def rows(path: Path, table: str = "fair_price", columns: str = "*") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY symbol, time").fetchall()


@asynccontextmanager
async def opened(path: Path, patience: float = 1.0):
    store = await open_sqlite(path, patience=patience)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "fairprice.db"


class TestSqlite(StoreContract):
    """Collects the contract."""

    @pytest.fixture
    async def kept(self, path):
        def read(measurement: str) -> list[dict[str, object]]:
            with closing(sqlite3.connect(path)) as connection:
                connection.row_factory = sqlite3.Row
                try:
                    rows = connection.execute(f"SELECT * FROM {measurement} ORDER BY time").fetchall()
                except sqlite3.OperationalError:
                    return []
            return [{name: row[name] for name in row.keys() if row[name] is not None} for row in rows]  # noqa: SIM118

        async with opened(path) as store:
            yield Kept(store, read)


async def test_a_table_has_the_designed_columns_and_key(path):
    async with opened(path) as store:
        assert await store.write([point(7, 3, status="ok", bid=None)]) == []
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute("PRAGMA table_info(fair_price)").fetchall()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [(name, kind) for _, name, kind, *_ in columns] == [
        ("time", "INTEGER"), ("venue", "TEXT"), ("symbol", "TEXT"),
        ("price", "REAL"), ("status", "TEXT"), ("bid", "REAL"), ("update_id", "INTEGER"),
    ]  # fmt: skip
    assert {name: key for _, name, _, _, _, key in columns if key} == {"venue": 1, "symbol": 2, "time": 3}
    assert rows(path) == [(7, "binance", "BTCUSDT", 1.5, "ok", None, 3)]


async def test_the_gaps_of_an_earlier_version_are_open_until_they_are_settled(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE gap (time INTEGER NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, from_update_id INTEGER,
                to_update_id INTEGER, duration_ms REAL, reason TEXT, PRIMARY KEY (venue, symbol, time)) WITHOUT ROWID;
            INSERT INTO gap VALUES (1, 'v', 'S', 11, 20, 5.0, 'restart'), (2, 'v', 'S', 31, 9, 5.0, 'id_reset');
        """)
    for _ in range(2):
        async with opened(path):
            assert rows(path, "gap", "time, to_update_id, reason, open_ids") == [
                (1, 20, "restart", 10), (2, 9, "id_reset", 1),
            ]  # fmt: skip


async def test_gaps_can_be_asked_for_before_there_is_one(path):
    async with opened(path):
        assert rows(path, "gap", "from_update_id, to_update_id, duration_ms, reason, open_ids") == []


async def test_a_repeat_replaces_what_it_has_a_later_revision_everything_and_an_older_one_nothing(path):
    def without_price(update_id):
        return Point("fair_price", 1, "binance", "BTCUSDT", {"price": None, "status": "x", "update_id": update_id})

    async with opened(path) as store:
        await store.write([point(1, 5, status="ok")])
        await store.write([without_price(5)])
        assert rows(path, columns="price, status, update_id") == [(1.5, "x", 5)]
        await store.write([point(1, 4, status="late")])
        assert rows(path, columns="price, status, update_id") == [(1.5, "x", 5)]
        await store.write([without_price(6)])
        assert rows(path, columns="price, status, update_id") == [(None, "x", 6)]
        await store.write([point(1, 7, status="newer")])
        assert rows(path, columns="price, status, update_id") == [(1.5, "newer", 7)]


async def test_doubles_and_ids_come_back_as_they_were(path):
    numbers: dict[str, Value] = {"a": 0.1 + 0.2, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2.0}
    async with opened(path) as store:
        await store.write([point(2**63 - 1, 2**63 - 1, **numbers)])
    assert rows(path, columns="time, update_id, a, b, c, d, typeof(d)") == [
        (2**63 - 1, 2**63 - 1, *numbers.values(), "real")
    ]


async def test_decimals_are_stored_as_the_nearest_floats_behind_the_fields(path):
    decimals = {"bid_price_00": "61000.01000000", "bid_size_00": None, "bid_price_01": "0.1000000000000000055511151231"}
    async with opened(path) as store:
        assert await store.write([Point("order_book", 1, "v", "S", {"update_id": 1}, decimals)]) == []
    assert rows(path, "order_book") == [(1, "v", "S", 1, 61000.01, None, 0.1)]
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute("PRAGMA table_info(order_book)").fetchall()
    assert [kind for _, _, kind, *_ in columns[4:]] == ["REAL"] * 3


async def test_columns_that_settings_add_later_are_added_to_the_table(path):
    async with opened(path) as store:
        await store.write([point(1)])
    async with opened(path) as store:
        await store.write([point(2, depth_bid_5bps=3.0), point(3), point(4, depth_ask_5bps=4.0)])
    assert rows(path, columns="time, depth_bid_5bps, depth_ask_5bps") == [
        (1, None, None), (2, 3.0, None), (3, None, None), (4, None, 4.0),
    ]  # fmt: skip


async def test_a_bad_point_is_rejected_and_its_neighbours_are_stored(path):
    async with opened(path) as store:
        bad = [point(2, 2**63), point(3, status=object()), point(None), point(4, status="\ud800")]
        rejections = await store.write([point(1), bad[0], point(5), *bad[1:], point(6, status="ok")])
    assert [rejection.index for rejection in rejections] == [1, 3, 4, 5]
    assert all(rejection.reason for rejection in rejections)
    assert rows(path, columns="time") == [(1,), (5,), (6,)]


async def test_a_point_that_needs_too_many_columns_is_rejected(path):
    fitting = {f"depth_bid_{number}bps": 1.0 for number in range(MAX_COLUMNS - 5)}
    async with opened(path) as store:
        (rejection,) = await store.write([point(1, **fitting, one_more=1.0), point(2)])
        assert (rejection.index, rows(path, columns="time")) == (0, [(2,)])
    path.unlink()
    async with opened(path) as store:
        assert await store.write([point(1, **fitting)]) == []
        (rejection,) = await store.write([point(2, one_more=1.0)])
        assert "columns" in rejection.reason


async def test_a_database_locked_by_another_writer_is_unavailable_and_works_again(path):
    async with opened(path, patience=0.05) as store:
        await store.write([point(1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.write([point(2, extra=1.0)])
            other.execute("ROLLBACK")
        await store.write([point(2, extra=1.0)])
    assert rows(path, columns="time, extra") == [(1, None), (2, 1.0)]


async def test_a_full_disk_is_unavailable_and_nothing_of_the_batch_is_kept(path):
    async with opened(path) as store:
        await store.write([point(1)])
        pages = store._worker.do(lambda: store._connection.execute("PRAGMA page_count").fetchone()[0])
        limit = await pages + 2
        await store._worker.do(lambda: store._connection.execute(f"PRAGMA max_page_count = {limit}").fetchall())
        with pytest.raises(StoreUnavailable, match="full"):
            await store.write([point(time, status="x" * 1000) for time in range(2, 100)])
        assert rows(path, columns="time") == [(1,)]
        await store._worker.do(lambda: store._connection.execute("PRAGMA max_page_count = 100000").fetchall())
        assert await store.write([point(time, status="x" * 1000) for time in range(2, 100)]) == []
    assert len(rows(path)) == 99


def remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def move_with_its_log(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(file.with_name(file.name.replace(path.name, "moved.db")))


@pytest.mark.parametrize("lose", [Path.unlink, remove, remove_the_folder, move, move_with_its_log])
async def test_a_file_that_is_lost_while_running_is_made_again_and_said(path, lose):
    async with opened(path) as store:
        await store.write([point(1), point(2), point(3, 2**63)])
        lose(path)
        with structlog.testing.capture_logs() as logs:
            assert await store.write([point(4)]) == []
            assert rows(path, columns="time") == [(4,)]
            await store.write([point(5)])
    assert rows(path, columns="time") == [(4,), (5,)]
    (told,) = logs
    assert (told["log_level"], told["path"], told["rows_gone"]) == ("error", str(path), {"fair_price": 2})
    assert "deleted, moved or replaced" in told["event"]
    moved = path.with_name("moved.db")
    assert not moved.exists() or rows(moved, columns="time") == [(1,), (2,)]


async def test_what_is_written_while_the_file_is_lost_is_kept(path):
    class LosesTheFile(list[Point]):
        def __iter__(self):
            if (loss := path.with_name("loss")).exists():
                loss.unlink()
                remove(path)
            return super().__iter__()

    async with opened(path) as store:
        await store.write([point(1)])
        path.with_name("loss").touch()
        assert [each.index for each in await store.write(LosesTheFile([point(2), point(3, 2**63)]))] == [1]
    assert rows(path, columns="time") == [(2,)]


async def test_a_file_that_was_put_in_the_place_of_another_is_gone_on_with(path):
    older = path.with_name("older.db")
    async with opened(older) as store:
        await store.write([point(1)])
    async with opened(path) as store:
        await store.write([point(2)])
        older.replace(path)
        await store.write([point(3)])
    assert rows(path, columns="time") == [(1,), (3,)]


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print(connection.execute("SELECT count(*) FROM fair_price").fetchone()[0], flush=True)
sys.stdin.read()
print(connection.execute("SELECT count(*) FROM fair_price").fetchone()[0], flush=True)
"""


def another_program(path: Path, statement: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", READER, str(path), statement]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("reading", ["SELECT 1", "BEGIN"], ids=["idle", "in a transaction"])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
async def test_the_log_of_a_lost_file_that_another_program_reads_is_not_taken_for_the_next_ones(
    path, reading, is_replaced
):
    other = path.with_name("other.db")
    async with opened(other) as store:
        await store.write([point(100)])
    before = [(100,)] if is_replaced else []
    async with opened(path, patience=0.05) as store:
        await store.write([point(time) for time in range(50)])
        with another_program(path, reading) as reader:
            assert reader.stdout.readline() == "50\n"
            other.replace(path) if is_replaced else path.unlink()
            for time in (200, 201):
                await store.write([point(time)])
                assert rows(path, columns="time") == [*before, *[(each,) for each in range(200, time + 1)]]
            assert reader.communicate()[0] == "50\n"
        await store.write([point(202)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows(path, columns="time") == [*before, (200,), (201,), (202,)]


async def test_a_lost_file_that_cannot_be_made_again_is_unavailable_until_it_can(path):
    async with opened(path) as store:
        await store.write([point(1)])
        remove_the_folder(path)
        path.parent.write_text("")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=str(path)):
                await store.write([point(2)])
        with pytest.raises(StoreUnavailable):
            await store.ping()
        path.parent.unlink()
        await store.ping()
        assert await store.write([point(2)]) == []
    assert rows(path, columns="time") == [(2,)]


async def test_rows_in_a_log_that_somebody_deletes_are_saved(path):
    async with opened(path) as store:
        await store.write([point(1)])
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        with structlog.testing.capture_logs() as logs:
            await store.write([point(2)])
        assert rows(path, columns="time") == [(1,), (2,)]
    assert [each["log_level"] for each in logs] == ["warning"]


async def test_a_file_that_is_deleted_to_make_room_gives_its_room_back(path):
    async with opened(path) as store:
        await store.write([point(1)])
        await store._worker.do(lambda: store._connection.execute("PRAGMA max_page_count = 3").fetchall())
        with pytest.raises(StoreUnavailable, match="full"):
            await store.write([point(time, status="x" * 1000) for time in range(2, 100)])
        remove(path)
        assert await store.write([point(time, status="x" * 1000) for time in range(2, 100)]) == []
    assert len(rows(path)) == 98


async def test_a_ping_is_unavailable_while_another_writes(path):
    async with opened(path, patience=0.05) as store:
        await store.ping()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.ping()


async def test_the_event_loop_runs_while_a_write_waits(path):
    async with opened(path, patience=PATIENCE) as store:
        await store.write([point(1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(store.write([point(2)]))
            for _ in range(10):
                await asyncio.sleep(0.01)
            assert not write.done()
            other.execute("ROLLBACK")
            await write
    assert rows(path, columns="time") == [(1,), (2,)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_disk_that_does_not_answer_does_not_keep_the_store_from_closing(path):
    store = await open_sqlite(path, close_timeout=0.05)
    frozen = Event()
    write = asyncio.create_task(store._worker.do(frozen.wait))
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        await store.close()
    assert [(each["log_level"], each["path"]) for each in logs] == [("error", str(path))]
    frozen.set()
    await write
    del store, write
    gc.collect()  # here, where Python 3.13 may complain of the connection that was left as it is


FROZEN = """
import asyncio, sys, threading
from pathlib import Path
from storer.stores.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]), close_timeout=0.05)
    writing = asyncio.create_task(store._worker.do(threading.Event().wait))
    await asyncio.sleep(0)
    writing.cancel()
    await store.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_disk_that_does_not_answer_does_not_keep_the_process_from_ending(path):
    subprocess.run([sys.executable, "-c", FROZEN, str(path)], check=True)


async def test_a_write_that_is_cancelled_before_it_has_begun_is_never_done(path):
    async with opened(path) as store:
        begun, go_on = Event(), Event()
        before = asyncio.create_task(store._worker.do(lambda: (begun.set(), go_on.wait())))
        await asyncio.to_thread(begun.wait)
        write = asyncio.create_task(store.write([point(1)]))
        await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait({write})
        go_on.set()
        await before
        await store.write([point(2)])
    assert rows(path, columns="time") == [(2,)]


async def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(StartupError, match="it is a folder"):
        await open_sqlite(tmp_path)


async def test_another_kind_of_file_is_no_database_and_is_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("buy low, sell high\n" * 100)
    with pytest.raises(StartupError, match="something else than a SQLite database"):
        await open_sqlite(file)
    assert file.read_text() == "buy low, sell high\n" * 100


async def test_a_database_that_another_program_writes_to_is_said_to_be_so(path):
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StartupError, match="another program is writing"):
            await open_sqlite(path, patience=0.05)


async def test_a_place_where_no_folder_can_be_made_is_said_to_be_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot store in .*fairprice\.db: (Not a directory|File exists)"):
        await open_sqlite(tmp_path / "file" / "fairprice.db")


@pytest.mark.may_skip
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run as another user")
async def test_a_read_only_folder_is_said_to_be_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StartupError, match="check that the folder and the file are writable"):
        await open_sqlite(tmp_path / "fairprice.db")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is a file system of Linux")
async def test_a_folder_that_takes_no_files_is_said_to_be_so():
    with pytest.raises(StartupError, match="check that the folder and the file are writable"):
        await open_sqlite(Path("/proc/fairprice.db"))


WRITER = """
import asyncio, sys
from pathlib import Path
from storer.measurements import Point
from storer.stores.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    for batch in range(1_000_000):
        times = range(batch * 50, batch * 50 + 50)
        fields = [{"update_id": time, "filling": "x" * 200} for time in times]
        await store.write([Point("fair_price", each["update_id"], "binance", "BTCUSDT", each) for each in fields])
        print(times[-1], flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 40])
def test_every_acknowledged_row_survives_kill_9(tmp_path, batches):
    path = tmp_path / "fairprice.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        told = [int(child.stdout.readline()) for _ in range(batches)]
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout]
    assert child.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    stored = [time for (time,) in rows(path, columns="time")]
    assert stored == list(range(len(stored)))
    assert len(stored) >= told[-1] + 1
    assert len(stored) % 50 == 0
    asyncio.run(_writes_again(path))


async def _writes_again(path: Path) -> None:
    async with opened(path) as store:
        assert await store.write([point(10**9)]) == []


async def test_rows_of_different_origins_never_get_into_one_file(tmp_path):
    path = tmp_path / "fairprice.db"
    for _ in range(2):
        store = await open_sqlite(path, origin="a made-up market")
        await store.close()
    with pytest.raises(StartupError, match="it holds rows of a made-up market, among which rows of an exchange do not"):
        await open_sqlite(path, origin="an exchange")


async def test_a_file_that_was_lost_and_made_again_bears_its_mark(tmp_path):
    path = tmp_path / "fairprice.db"
    store = await open_sqlite(path, origin="a made-up market")
    path.unlink()
    await store.ping()
    await store.close()
    with pytest.raises(StartupError, match="a made-up market"):
        await open_sqlite(path, origin="a recording")


async def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "fairprice.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 7")
    connection.close()
    with pytest.raises(StartupError, match="rows of another program"):
        await open_sqlite(path, origin="an exchange")
