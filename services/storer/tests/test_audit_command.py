"""`storer audit`: its words, its grid, its JSON, its exit codes, on a SQLite file and on InfluxDB."""

import argparse
import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass

import preloaded
import pytest
from audited import KEY, START, at, sound
from pydantic import SecretStr
from tables import each_row

from fairprice.coverage import HOUR, MARKS, Facts, Verdict
from fairprice.errors import FatalError
from fairprice.runtime.clock import SystemClock
from storer.audit.account import HourOf
from storer.audit.command import Terminal, audit, minutes
from storer.audit.grid import grid
from storer.measurements import Point
from storer.program import _parser
from storer.settings import StorerSettings
from storer.stores.influxdb import open_influxdb
from storer.stores.origin import MADE_UP, RECORDING
from storer.stores.reading import opened_reader
from storer.stores.sqlite import open_sqlite

TABLES = {"fair_price": "prices", "order_book": "books", "gap": "gaps", "audit": "audits"}


def points(rows, venue="binance", symbol="BTCUSDT"):
    return [
        Point(measurement, time, venue, symbol, row)
        for measurement, table in TABLES.items()
        for time, row in getattr(rows, table).items()
    ]


async def stored(path, rows, *, origin=RECORDING, **key):
    store = await open_sqlite(path, origin=origin)
    assert await store.write(points(rows, **key)) == []
    await store.close()


@dataclass(frozen=True)
class Done:
    """What a run printed, and the code that it ended with."""

    returncode: int
    stdout: str = ""
    stderr: str = ""


async def run(url, *arguments, now=None, **environ) -> Done:
    """Run the command in this process."""
    printed = []
    terminal = Terminal(printed.append, 80, colour=False)
    try:
        options = _parser().parse_args(["audit", *map(str, arguments)])
        settings = StorerSettings.load({"FAIRPRICE_STORE_URL": url} | environ)
        async with opened_reader(settings) as (reader, origin):
            code = await audit(reader, options, now or SystemClock().wall(), terminal, origin=origin)
    except FatalError as error:
        return Done(2, stderr=f"error: {error}\n")
    return Done(code, "".join(f"{line}\n" for line in printed))


def run_program(url, *arguments, **environ) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRPRICE_", "NO_COLOR"))}
    environ = clean | {"FAIRPRICE_STORE_URL": url} | environ
    return preloaded.run("storer", "audit", *arguments, environ=environ, strict=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.db"


async def audited(path, rows, *arguments):
    await stored(path, rows)
    return await run(f"sqlite:///{path}", "--since", "all", *arguments)


@pytest.mark.slow
async def test_a_sound_database_is_verified(path):
    await stored(path, sound(90))
    done = run_program(f"sqlite:///{path}", "--since", "all", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "binance BTCUSDT: verified",
        "  5,400 prices, 2024-08-08 00:00:00 to 2024-08-08 01:29:59, ids 1 to 54000",
        "  540 tops and 0 levels compared, 540 sampled books",
        "",
        "hours, UTC              0     6     12    18",
        "binance BTCUSDT  08-08  ==......................",
        "= verified; ? not verified; o hole, recorded; ! suspect; X hole, not recorded;",
        ". nothing stored",
        "Hours: 2 verified.",
    ]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "DELETE FROM fair_price WHERE time = ?",
            r"1 x hole that no gap tells\n.*00:16:39  ids 10001 to 10010, 10 missing",
        ),
        ("UPDATE fair_price SET bid = bid + 1 WHERE time = ?", r"1 x row that contradicts\n"),
        ("UPDATE order_book SET bid_price_00 = bid_price_00 + 1 WHERE time = ?", r"1 x sampled book that disagrees"),
        (
            """INSERT INTO fair_price SELECT time + 7, venue, symbol, first_update_id, update_id, bid, ask, spread
            FROM fair_price WHERE time = ?""",
            r"1 x row that is there twice\n",
        ),
    ],
)
async def test_one_change_of_a_sound_database_is_found(path, statement, told):
    await stored(path, sound(60))
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, [at(1000)]).rowcount == 1
    done = await run(f"sqlite:///{path}", "--since", "all")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(told, done.stdout)


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
async def test_a_recorded_hole_is_told_and_only_strictly_wrong(path, options, code):
    rows = sound(60)
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1100)
    rows.gap(at(200), at(210), 2011, 2090)
    done = await audited(path, rows, *options)
    assert (done.returncode, done.stderr) == (code, "")
    assert "  gaps: 1 open, 1 filled by other rows\n" in done.stdout
    assert "00:01:39  ids 1001 to 1100: connection_lost, 100 missing, 11.0 s\n" in done.stdout
    assert "Hours: 1 hole, recorded." in done.stdout


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
async def test_an_hour_that_is_not_verified_is_never_called_good_and_only_strictly_wrong(path, options, code):
    rows = sound(60)
    rows.audits.clear()
    done = await audited(path, rows, *options)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("binance BTCUSDT: not verified\n")
    assert "08-08  ?......................." in done.stdout


async def test_json_is_one_object_with_every_kind_of_finding_and_its_names_stay(path):
    rows = sound(61)
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1090)
    done = await audited(path, rows, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit_code"], found["strict"], found["start"]) == (1, 1, False, 0)
    (symbol,) = found["symbols"]
    assert symbol["findings"] == {
        "unrecorded_hole": 1, "recorded_hole": 1, "doubled_row": 0, "contradicting_row": 0, "disagreeing_book": 0,
        "wrong_tops": 0, "wrong_levels": 0, "wrongly_filled_gap": 0,
    }  # fmt: skip
    assert symbol["gaps"] == [
        {
            "from_time": at(99), "to_time": at(110), "from_update_id": 1001, "to_update_id": 1090,
            "reason": "connection_lost", "open_ids": 90,
        }
    ]  # fmt: skip
    assert symbol["hours"][0] == {
        "time": START, "is_over": True, "verdict": "unrecorded_hole", "minutes_with_books": 60,
        "minutes_compared": 60, "missing_ids": 100, "unrecorded_ids": 10,
    }  # fmt: skip
    assert {"kind": "unrecorded_hole", "count": 10}.items() <= symbol["particulars"][0].items()
    assert [hour["verdict"] for hour in symbol["hours"]] == ["unrecorded_hole", "verified"]
    assert {name: symbol[name] for name in ("venue", "symbol", "verdict", "rows", "first_update_id", "open_gaps")} == {
        "venue": "binance", "symbol": "BTCUSDT", "verdict": "unrecorded_hole", "rows": 3650, "first_update_id": 1,
        "open_gaps": 1,
    }  # fmt: skip


async def test_each_symbol_is_judged_and_some_may_be_chosen(path):
    spoilt = sound(10)
    spoilt.remove(5, 5)
    await stored(path, sound(10))
    await stored(path, spoilt, symbol="ETHUSDT")
    await stored(path, sound(10), venue="binance-usdm")
    url = f"sqlite:///{path}"
    assert (await run(url, "--since", "all")).returncode == 1
    assert (await run(url, "--since", "all", "--symbol", "eth/usdt")).returncode == 1
    both = await run(url, "--since", "all", "--symbol", "btcusdt")
    assert (both.returncode, both.stdout.count(": verified\n")) == (0, 2)
    one = await run(url, "--since", "all", "--symbol", "binance-usdm:BTCUSDT")
    assert (one.returncode, one.stdout.splitlines()[0]) == (0, "binance-usdm BTCUSDT: verified")
    nothing = await run(url, "--since", "all", "--symbol", "SOLUSDT")
    assert nothing.returncode == 2
    assert "nothing is stored of SOLUSDT; there is binance:BTCUSDT, binance:ETHUSDT" in nothing.stderr


async def test_a_made_up_market_may_begin_anew_with_each_run(path):
    rows = sound(10)
    for second in range(300, 600):
        rows.prices[at(second)] |= {"first_update_id": 10 * second - 2999, "update_id": 10 * second - 2990}
    rows.books.clear()
    await stored(path, rows, origin=MADE_UP)
    done = await run(f"sqlite:///{path}", "--since", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  2 runs of the market, each with ids of its own\n" in done.stdout
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA application_id = 0")
    assert (await run(f"sqlite:///{path}", "--since", "all")).returncode == 1


@pytest.mark.parametrize("since", ["1h", "all"])
async def test_of_a_database_of_a_few_seconds_it_says_that_it_is_too_young(path, since):
    await stored(path, sound(1))
    done = await run(f"sqlite:///{path}", "--since", since, now=START + 29_000_000)
    assert (done.returncode, done.stderr.split(";")[0]) == (
        2, "error: all that is stored is younger than 30 s, in which rows may still be on their way",
    )  # fmt: skip


async def test_a_short_period_of_an_old_recording_holds_nothing(path):
    done = await audited(path, sound(10), "--since", "2h")
    assert done.returncode == 2
    assert done.stderr == "error: nothing is stored in that time; --since 7d or --since all looks further back\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///nowhere/at/all.db", "error: cannot read nowhere/at/all.db: there is no such file"),
        ("influxdb://127.0.0.1:9?org=o&bucket=b", "error: InfluxDB at http://127.0.0.1:9 cannot be reached"),
        ("postgres://x", "FAIRPRICE_STORE_URL"),
    ],
)
def test_a_store_that_cannot_be_asked_is_code_2_and_one_line(url, told):
    done = run_program(url)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_file_that_is_no_database_is_code_2(path):
    path.write_text("nothing of the kind, and long enough to have a header" * 20)
    done = await run(f"sqlite:///{path}")
    assert done.returncode == 2
    assert done.stderr == f"error: cannot read {path}: file is not a database\n"


async def test_looking_changes_nothing_and_makes_no_file(path, tmp_path):
    await stored(path, sound(10))
    before = path.read_bytes()
    assert (await run(f"sqlite:///{path}", "--since", "all")).returncode == 0
    assert path.read_bytes() == before
    assert (await run(f"sqlite:///{tmp_path}/other.db")).returncode == 2
    assert not (tmp_path / "other.db").exists()


@pytest.mark.influxdb
async def test_the_same_on_influxdb(org):
    url = org.store_url
    rows = sound(90)
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1100)
    store = open_influxdb(org.address, SecretStr(org.make_token("write")))
    assert await store.write(points(rows)) == []
    token = {"FAIRPRICE_STORE_TOKEN": org.make_token("read")}
    done = await run(url, "--since", "all", **token)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "binance BTCUSDT: hole, recorded"
    assert "08-08  o=......................" in done.stdout
    assert (await run(url, "--since", "all", "--strict", **token)).returncode == 1
    (point,) = [point for point in points(rows) if point.time == at(700) and point.measurement == "fair_price"]
    await store.write([Point("fair_price", at(700) + 1, *KEY, dict(point.fields))])
    await store.close()
    done = await run(url, "--since", "all", **token)
    assert done.returncode == 1
    assert "1 x row that is there twice" in done.stdout


@pytest.mark.influxdb
async def test_a_token_that_may_not_read_is_told_what_to_do(org):
    done = await run(org.store_url, FAIRPRICE_STORE_TOKEN=org.make_token("write"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "`storer provision` gives the storer's token that right" in done.stderr


@pytest.mark.parametrize(("text", "expected"), [("30m", 30), ("1h", 60), ("7d", 10080), ("2w", 20160), ("all", None)])
def test_the_period_is_written_as_people_do(text, expected):
    assert minutes(text) == expected


@each_row("text", ["", "1", "h", "0h", "-1h", "1.5h", "all of it"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 30m"):
        minutes(text)


def hours(*verdicts):
    return [HourOf(START + number * HOUR, verdict, Facts()) for number, verdict in enumerate(verdicts)]


def test_every_verdict_has_a_mark_of_its_own_that_needs_no_colour():
    assert len({mark for mark, _ in MARKS.values()}) == len(Verdict) == len(MARKS)
    lines = list(grid({KEY: hours(*Verdict)}, width=80, colour=False))
    assert lines[1] == "binance BTCUSDT  08-08  =?o!X..................."
    assert "\x1b" not in "".join(lines)


def test_colours_are_added_around_the_same_marks():
    plain = list(grid({KEY: hours(*Verdict)}, width=80, colour=False))
    coloured = list(grid({KEY: hours(*Verdict)}, width=80, colour=True))
    assert "\x1b[32m=\x1b[0m" in coloured[1]
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain


@pytest.mark.parametrize("width", [33, 40, 47, 80])
def test_a_narrow_terminal_gets_lines_that_fit(width):
    lines = list(
        grid({KEY: hours(*[Verdict.VERIFIED] * 30), ("v", "S" * 20): hours(Verdict.HOLE)}, width=width, colour=False)
    )
    assert max(map(len, lines)) <= width
    assert sum("08-09  ======......" in line for line in lines) == 1
    assert " nothing stored" in lines[-1]
