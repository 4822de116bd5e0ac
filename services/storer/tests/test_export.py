"""`storer export`: what is stored, whole, in files that others open, and what is told where it cannot be done."""

import csv
import errno
import os

import preloaded
import pytest
from audited import KEY, START, sound

from fairprice.errors import StartupError
from storer.export.command import export, moment, period
from storer.export.tables import CsvTable, part_of
from storer.measurements import Point
from storer.program import _parser
from storer.stores.origin import RECORDING
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_reader import open_sqlite_reader

TABLES = {"fair_price": "prices", "order_book": "books", "gap": "gaps", "audit": "audits"}
DAY = 86_400_000_000
NOW = START + DAY


async def stored(path, *, symbol="BTCUSDT"):
    rows = sound()
    points = [
        Point(measurement, time, "binance", symbol, row)
        for measurement, table in TABLES.items()
        for time, row in getattr(rows, table).items()
    ]
    store = await open_sqlite(path, origin=RECORDING)
    assert await store.write(points) == []
    await store.close()
    return rows


async def taken(path, folder, *arguments, now=NOW):
    """Export, and return what was told and what was shown on the way."""
    options = _parser().parse_args(["export", "--output", str(folder), *arguments])
    told, shown = [], []
    reader = await open_sqlite_reader(path)
    try:
        await export(reader, options, now, told.append, show=shown.append, origin=RECORDING)
    finally:
        await reader.close()
    return told, shown


def lines(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


async def test_prices_gaps_and_verdicts_lie_beside_each_other(tmp_path):
    rows = await stored(tmp_path / "db")
    told, _ = await taken(tmp_path / "db", tmp_path / "new" / "folder", "--symbol", "btc/usdt")
    names = [f"binance-BTCUSDT.{name}.csv" for name in ("fair_price", "gap", "hours")]
    assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == names
    prices, gaps, hours = (lines(tmp_path / "new" / "folder" / name) for name in names)
    assert told[0].endswith(f"binance-BTCUSDT.fair_price.csv: {len(rows.prices):,} rows")
    assert [int(row["time"]) for row in prices] == sorted(rows.prices)
    first = rows.prices[min(rows.prices)]
    assert {name: float(prices[0][name]) for name in ("bid", "ask", "spread")} == {
        name: first[name] for name in ("bid", "ask", "spread")
    }
    assert (prices[0]["venue"], prices[0]["symbol"]) == ("binance", "BTCUSDT")
    assert len(gaps) == len(rows.gaps)
    assert {row["verdict"] for row in hours} == {"verified"}


async def test_a_period_and_several_symbols_are_chosen(tmp_path):
    rows = await stored(tmp_path / "db")
    await stored(tmp_path / "db", symbol="ETHUSDT")
    minute = START + 60_000_000
    arguments = ("--symbol", "BTCUSDT", "binance:ETHUSDT", "--from", "2024-08-08T00:00Z", "--to", "2024-08-08T00:01Z")
    told, _ = await taken(tmp_path / "db", tmp_path, *arguments)
    assert len(told) == 6
    for symbol in ("BTCUSDT", "ETHUSDT"):
        found = [int(row["time"]) for row in lines(tmp_path / f"binance-{symbol}.fair_price.csv")]
        assert found == sorted(time for time in rows.prices if START <= time < minute)
        assert found


async def test_more_rows_than_are_held_at_once_come_in_parts_and_progress_is_shown(tmp_path, monkeypatch):
    rows = await stored(tmp_path / "db")
    monkeypatch.setattr("storer.export.command.PART", 7)
    _, shown = await taken(tmp_path / "db", tmp_path, "--symbol", "BTCUSDT")
    assert len(lines(tmp_path / "binance-BTCUSDT.fair_price.csv")) == len(rows.prices)
    assert any("%, 7 rows" in text for text in shown)


async def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    await stored(tmp_path / "db")
    target = tmp_path / "binance-BTCUSDT.fair_price.csv"
    target.write_text("of an earlier run")
    monkeypatch.setattr("storer.export.command.PART", 3)
    monkeypatch.setattr(CsvTable, "write", _fail_at_the_second_part)
    with pytest.raises(StartupError, match=r"cannot write into .*: No space left on device"):
        await taken(tmp_path / "db", tmp_path, "--symbol", "BTCUSDT")
    assert target.read_text() == "of an earlier run"
    assert not part_of(target).exists()


def _fail_at_the_second_part(table, rows):
    table._writer.writerows(rows)
    if table._file.tell() > 200:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name what to export: --symbol BTCUSDT"),
        (("--symbol", "DOGE"), "nothing is stored of DOGE from 20.* to .*; there is binance:BTCUSDT"),
        (("--symbol", "BTCUSDT", "--from", "2020-01-01", "--to", "2020-01-02"), "nothing is stored from 2020-01-01T"),
        (("--symbol", "BTCUSDT", "--from", "2024-08-09", "--to", "2024-08-08"), "has to be before --to"),
        (("--symbol", "BTCUSDT", "--from", "2031-01-01", "--to", "2032-01-01"), "lies in the future"),
    ],
)
async def test_what_cannot_be_exported_is_told(tmp_path, arguments, told):
    await stored(tmp_path / "db")
    with pytest.raises(StartupError, match=told):
        await taken(tmp_path / "db", tmp_path, *arguments)


async def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    await stored(tmp_path / "db")
    with pytest.raises(StartupError, match=r"cannot write into .*; name another --output"):
        await taken(tmp_path / "db", tmp_path / "db" / "below", "--symbol", "BTCUSDT")


async def test_parquet_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    await stored(tmp_path / "db")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(StartupError, match="pip install pyarrow, or use --format csv"):
        await taken(tmp_path / "db", tmp_path, "--symbol", "BTCUSDT", "--format", "parquet")
    assert [file.name for file in tmp_path.iterdir() if "fair_price" in file.name] == []


@pytest.mark.may_skip
async def test_parquet_has_the_same_rows_with_times_and_ids_as_such(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install pyarrow")
    rows = await stored(tmp_path / "db")
    await taken(tmp_path / "db", tmp_path, "--symbol", "BTCUSDT", "--format", "parquet")
    table = parquet.read_table(tmp_path / "binance-BTCUSDT.fair_price.parquet")
    assert table.num_rows == len(rows.prices)
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("update_id").type) == "int64"
    assert table.column("bid").to_pylist() == [rows.prices[time]["bid"] for time in sorted(rows.prices)]
    assert parquet.read_table(tmp_path / "binance-BTCUSDT.hours.parquet").column("verdict").to_pylist()[0] == "verified"


def test_times_are_absolute_or_before_the_end():
    assert moment("2024-08-08T00:00:00Z") == moment("2024-08-08") == START // DAY * DAY
    options = _parser().parse_args(["export", "--from", "2h", "--to", "1h"])
    assert period(options, NOW) == (NOW - 3 * 3_600_000_000, NOW - 3_600_000_000)
    options = _parser().parse_args(["export"])
    assert period(options, NOW) == (NOW - DAY, NOW)
    options = _parser().parse_args(["export", "--from", "all"])
    assert period(options, NOW) == (0, NOW)


@pytest.mark.slow
async def test_the_command_itself_writes_files_and_tells_of_them(tmp_path):
    await stored(tmp_path / "db")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    environ["FAIRPRICE_STORE_URL"] = f"sqlite:///{tmp_path / 'db'}"
    arguments = ("--symbol", KEY[1], "--from", "2024-01-01", "--output", str(tmp_path))
    done = preloaded.run("storer", "export", *arguments, environ=environ, strict=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" rows\n") == 3
    done = preloaded.run("storer", "export", "--symbol", "X", "--from", "soon", environ=environ, strict=True)
    assert done.returncode == 2
    assert "'soon' is no time; write 2026-11-29T10:00:00Z, or 30m, 1h, 7d, all" in done.stderr
