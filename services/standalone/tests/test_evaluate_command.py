"""`standalone evaluate`: recordings and stores in, words and exit codes out."""

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from itertools import pairwise

import made_instants
import made_market
import pytest
from tables import each_row

from converter.pricing import Pricer
from converter.settings import ConverterSettings
from fairprice.errors import FatalError
from fairprice.runtime import lifecycle
from standalone.evaluate import fit
from standalone.evaluate.capture import Capture
from standalone.evaluate.command import evaluate, parse
from storer.measurements import Point
from storer.stores.origin import RECORDING
from storer.stores.sqlite import open_sqlite

SECONDS = 240
"""The model of `forecast_mid` learns for half of it."""


ENOUGH = 3600
"""Lines of two minutes."""


@dataclass
class Done:
    """What a run printed, and the code that it ended with."""

    exit_code: int
    lines: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def text(self):
        return "\n".join(self.lines)

    def found(self, estimator, horizon):
        (symbol,) = json.loads(self.text)["symbols"]
        (one,) = [
            each for each in symbol["estimators"] if (each["estimator"], each["horizon_s"]) == (estimator, horizon)
        ]
        return one


async def run(*arguments, stop=None, command=evaluate, parsed=parse, **environ):
    lines = []
    try:
        code = await command(parsed([*map(str, arguments)]), environ, stop or asyncio.Event(), lines.append)
    except FatalError as error:
        return Done(2, lines, str(error))
    return Done(code, lines)


@pytest.fixture(autouse=True)
def _no_log(monkeypatch):
    """Leave the log of the tests' process as it is: what is set up once stays, and other tests would hear nothing."""
    monkeypatch.setattr(lifecycle, "begin_log", lambda *_: None)


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Return a recording whose moves follow the imbalance."""
    path = tmp_path_factory.mktemp("moved") / "r"
    return made_market.recording(path, seconds=SECONDS, drift=2, noise=20, seed=3)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a recording that is too short to say anything."""
    return made_market.recording(tmp_path_factory.mktemp("short") / "short", seconds=20, drift=0, noise=20)


@pytest.fixture(scope="module")
def whole(short):
    """Return the sampler of that recording."""
    return captured(short)


@pytest.mark.slow
async def test_a_known_slope_is_found_and_the_estimators_that_see_it_beat_the_mid(moved):
    done = await run("--capture", moved, "--json", "--horizon", 0.5, 1)

    assert done.exit_code == 0
    for horizon, steps in ((0.5, 5), (1.0, 10)):
        found = done.found("weighted_mid", horizon)
        slope = found["mincer_zarnowitz"]
        assert slope["low"] < made_market.slope(2, steps) < slope["high"]
        assert found["verdict"] == "beats"
        assert found["sentence"].startswith(f"weighted_mid beats the mid at {horizon:g} s by ")
        assert found["own_mid"]["value"] != found["squared"]["value"] < found["as_it_is"]["value"]
        assert all(found["controls"][name]["high"] > 1 for name in ("shuffled", "halves_swapped"))
        assert all(control["low"] > found["squared"]["high"] for control in found["controls"].values())
        forecast = done.found("forecast_mid", horizon)
        assert forecast["mincer_zarnowitz"]["low"] < 1 < forecast["mincer_zarnowitz"]["high"]
        assert forecast["squared"]["value"] < found["squared"]["value"]
    assert done.found("mid", 0.5)["as_it_is"]["low"] > 1, "the book's mid is older than the tickers'"


@pytest.mark.slow
async def test_where_imbalance_means_nothing_no_difference_can_be_shown_of_any_estimator(tmp_path):
    path = made_market.recording(tmp_path / "r", seconds=SECONDS, drift=0, noise=200, seed=2)
    done = await run("--capture", path, "--horizon", 0.5, 1)

    assert done.exit_code == 0
    said = [line for line in done.lines if " at 0.5 s" in line or " at 1 s" in line]
    assert len(said) >= 8
    assert [line for line in said if "no difference can be shown" not in line] == []


@pytest.mark.slow
async def test_two_runs_and_two_files_give_the_same(moved, tmp_path):
    lines = moved.read_bytes().splitlines(keepends=True)[:ENOUGH]
    whole, *parts = (tmp_path / name for name in "wab")
    whole.write_bytes(b"".join(lines))
    parts[0].write_bytes(gzip.compress(b"".join(lines[:1000])))
    parts[1].write_bytes(b"".join(lines[1000:]))

    one, two = [await run("--capture", *paths, "--horizon", 1, "--json") for paths in ([whole], parts)]

    assert one == two


def captured(path):
    """Return the sampler of BTCUSDT in a recording."""
    settings = ConverterSettings.load({})
    pricer = Pricer(settings.estimator, settings.depth_bps, settings.impact_notionals, settings.curve_bps)
    capture = Capture([path], pricer, ["curve_mid"], levels=20)
    capture.read(lambda: False)
    return capture.samplers["BTCUSDT"]


def noted(now, **data):
    return made_market.line(now, {"stream": "!loss", "data": data})


@pytest.mark.parametrize(
    ("line", "breaks"),
    [
        (lambda ticker: ticker.replace('"B":"', '"B":"9'), 0),
        (lambda _: noted(5_000, e="loss", symbols=["BTCUSDT"], kind="disconnect"), 1),
        (lambda ticker: ticker.replace('"b":"', '"b":"x').replace('"u":', '"u":1'), 1),
    ],
    ids=["again from a connection that is behind", "lost", "unreadable"],
)
def test_a_line_between_others_tells_nothing_or_breaks(short, whole, tmp_path, line, breaks):
    lines = short.read_text().splitlines(keepends=True)
    place = next(number for number, each in enumerate(lines) if each > f"{made_market.BEGIN_MS + 5_000}")
    ticker = next(each for each in reversed(lines[:place]) if "bookTicker" in each)
    spoilt = tmp_path / "spoilt"
    spoilt.write_text("".join([*lines[:place], line(ticker), *lines[place:]]))

    found = captured(spoilt)

    assert (found.breaks, found.tickers) == (breaks, whole.tickers)
    assert (found.instants.times == whole.instants.times) == (breaks == 0)


def test_while_a_side_of_the_ticker_is_empty_there_is_no_mid(short, tmp_path):
    lines = short.read_text().splitlines(keepends=True)
    sides = [("0.00", "0.000", 20_000), ("60000.00", "1.000", 20_500), ("60000.00", "2.000", 20_700)]
    for number, (bid, size, now) in enumerate(sides):
        event = {"u": 99_000 + number, "s": "BTCUSDT", "b": bid, "B": size, "a": "60001.00", "A": "1.000"}
        lines.append(made_market.line(now, {"stream": "btcusdt@bookTicker", "data": event}))
    path = tmp_path / "r"
    path.write_text("".join(lines))

    instants = captured(path).instants

    assert [time // 1000 - made_market.BEGIN_MS for time in instants.times[-3:]] == [19_900, 20_500, 20_600]
    assert instants.mid[-1] == 60_000.5


def test_a_hole_is_a_break_and_what_the_book_before_it_said_holds_no_more(short, tmp_path):
    lines = short.read_text().splitlines(keepends=True)
    diffs = [number for number, line in enumerate(lines) if "depthUpdate" in line]
    anew = json.loads(lines[diffs[119]].partition(" ")[2])["data"]
    book = {"lastUpdateId": anew["u"], "bids": [level for level in anew["b"] if float(level[1])]}
    book["asks"] = [level for level in anew["a"] if float(level[1])]
    lines.insert(diffs[119] + 1, made_market.line(12_040, book))
    lines[diffs[100]] = "\n"
    holed = tmp_path / "holed"
    holed.write_text("".join(lines))
    sampler = captured(holed)
    instants = sampler.instants
    assert (sampler.breaks, len(set(instants.segments))) == (1, 2)
    assert [(later - time) // 100_000 for time, later in pairwise(instants.times) if later - time > 100_000] == [
        121 - 100 + 1
    ]


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda lines: [line for line in lines if "bookTicker" not in line], "the recordings hold no tickers"),
        (lambda lines: lines[1:], "no book could be made"),
        (lambda lines: [line for line in lines if "depthUpdate" not in line], "no diff of a venue that is known"),
        (lambda lines: lines, "too few pairs to say anything: BTCUSDT of binance has 20 s; 10 stretches"),
        (lambda _: ["nothing\n"], "no diff of a venue that is known"),
        (lambda _: [], "no diff of a venue that is known"),
    ],
)
async def test_what_cannot_be_evaluated_is_told_in_a_sentence(short, tmp_path, spoilt, said):
    path = tmp_path / "r"
    path.write_text("".join(spoilt(short.read_text().splitlines(keepends=True))))
    done = await run("--capture", path)

    assert (done.exit_code, done.lines) == (2, [])
    assert said in done.error


async def test_files_that_are_not_there_or_of_several_venues_are_refused(short, tmp_path):
    futures = short.read_text().replace('"U":', '"pu":1,"T":1700000000000,"U":').splitlines(keepends=True)
    other = tmp_path / "futures"
    other.write_text("".join(futures))

    missing, mixed = await run("--capture", tmp_path / "none"), await run("--capture", short, other)
    wrong = await run("--capture", short, "--symbol", "ETH/USDT")

    assert (missing.exit_code, mixed.exit_code, wrong.exit_code) == (2, 2, 2)
    assert "none does not exist" in missing.error
    assert mixed.error.startswith("the recordings are of different venues; name those of one at a time: ")
    assert f"{short} is of binance, {other} is of binance-usdm" in mixed.error
    assert wrong.error == "the recordings hold no ETHUSDT; they hold BTCUSDT"


@pytest.mark.slow
async def test_what_cannot_be_read_ends_with_1(moved, tmp_path):
    lines = moved.read_text().splitlines(keepends=True)
    path = tmp_path / "r"
    path.write_text("".join([*lines[:ENOUGH], "nonsense\n"]))
    done = await run("--capture", path, "--horizon", 1)

    assert done.exit_code == 1
    assert done.lines[-1] == "warning: 1 lines or parts of files cannot be read"


async def test_a_stop_ends_it(short):
    stop = asyncio.Event()
    stop.set()
    done = await run("--capture", short, stop=stop)

    assert (done.exit_code, done.error) == (2, "stopped before the end")


@each_row(
    "arguments",
    ["", "--capture", "--from-store --capture x", "--from-store --since x", "--capture x --since 1h",
     "--from-store --horizon 0.25", "--from-store --horizon 0", "--from-store --horizon 61",
     "--from-store --horizon x"],
)  # fmt: skip
def test_a_wrong_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())

    assert ended.value.code == 2
    assert "standalone evaluate: error: " in capsys.readouterr().err


START = 1_700_000_000_000_000


def points(count, *, drift, symbol="BTCUSDT", hole=None, tick=0.01):
    """Return rows of a market whose mid follows the lean of `curve_mid`; at `hole` ids are missing."""
    market = made_instants.instants(count, drift=drift)
    for place, (mid, estimate) in enumerate(zip(market.mid, market.values["lean"], strict=True)):
        ids = {"first_update_id": 10 * place + (5 if place == hole else 1), "update_id": 10 * place + 10}
        prices = {"mid": mid, "curve_mid": estimate, "bid": round(mid / tick) * tick, "spread": tick}
        sizes = (8.5, 1.5) if estimate > mid else (1.5, 8.5)
        fields = ids | prices | dict(zip(("bid_size", "ask_size"), sizes, strict=True)) | {"status": "ok"}
        yield Point("fair_price", START + place * 100_000, "binance", symbol, fields)


async def stored(path, *rows):
    store = await open_sqlite(path, origin=RECORDING)
    for each in rows:
        assert await store.write(list(each)) == []
    await store.close()
    return {"FAIRPRICE_STORE_URL": f"sqlite:///{path}"}


async def test_a_store_is_measured_against_the_mid_of_the_row_later(tmp_path):
    where = await stored(tmp_path / "rows.db", points(1500, drift=0.5))

    done = await run("--from-store", "--since", "all", "--horizon", 0.5, "--json", **where)
    told = await run("--from-store", "--since", "all", "--horizon", 0.5, **where)

    assert (done.exit_code, told.exit_code) == (0, 0)
    found = done.found("curve_mid", 0.5)
    slope = found["mincer_zarnowitz"]
    assert slope["low"] < 0.5 * sum(0.9**step for step in range(5)) < slope["high"]
    assert (found["verdict"], found["as_it_is"], found["pairs"]) == ("beats", None, 1494)
    assert done.found("impact_mid", 0.5)["verdict"] == "too_few"
    assert json.loads(done.text)["symbols"][0]["target"] == "mid_of_the_row"
    assert "a store holds no tickers" in told.lines[1]


async def test_a_picture_is_drawn_where_it_can_be_written(tmp_path):
    where = await stored(tmp_path / "rows.db", points(1100, drift=0.5))
    path = tmp_path / "picture.png"

    drawn = await run("--from-store", "--since", "all", "--horizon", 0.5, "--png", path, **where)
    refused = await run("--from-store", "--since", "all", "--horizon", 0.5, "--png", tmp_path / "no" / "p.png", **where)

    assert drawn.exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert refused.exit_code == 2
    assert refused.error == f"cannot write {tmp_path / 'no' / 'p.png'}: No such file or directory"


async def test_rows_whose_ids_do_not_join_are_not_paired(tmp_path):
    where = await stored(tmp_path / "rows.db", points(1500, drift=0.5, hole=700))

    done = await run("--from-store", "--since", "all", "--horizon", 0.5, "--json", **where)

    assert done.found("curve_mid", 0.5)["pairs"] == 1494 - 5
    assert json.loads(done.text)["symbols"][0]["breaks"] == 1


async def test_of_several_symbols_one_that_is_too_short_ends_with_1(tmp_path):
    where = await stored(tmp_path / "rows.db", points(1500, drift=0.5), points(100, drift=0.5, symbol="ETHUSDT"))

    done = await run("--from-store", "--since", "all", "--horizon", 0.5, **where)
    one = await run("--from-store", "--since", "all", "--symbol", "eth/usdt", **where)
    other = await run("--from-store", "--since", "all", "--symbol", "binance:BTCUSDT", **where)

    assert (done.exit_code, one.exit_code, other.exit_code) == (1, 2, 0)
    assert [line for line in done.lines if line.startswith(("BTCUSDT of", "ETHUSDT of"))][1].startswith(
        "ETHUSDT of binance"
    )
    assert "ETHUSDT of binance has 10 s" in one.error


async def test_a_store_without_rows_or_without_a_file_is_told(tmp_path):
    where = await stored(tmp_path / "rows.db", points(1500, drift=0.5))

    old = await run("--from-store", **where)
    none = await run("--from-store", FAIRPRICE_STORE_URL=f"sqlite:///{tmp_path / 'none.db'}")
    silent = await run("--from-store", FAIRPRICE_STORE_URL="influxdb://127.0.0.1:1?org=market&bucket=ticks")

    assert (old.exit_code, none.exit_code, silent.exit_code) == (2, 2, 2)
    assert old.error == "nothing is stored in that time; --since 7d or --since all looks further back"
    assert "there is no such file" in none.error
    assert "InfluxDB at http://127.0.0.1:1 cannot be reached" in silent.error


async def fitted(*arguments, **environ):
    return await run(*arguments, command=fit.fit, parsed=fit.parse, **environ)


async def test_a_micro_price_is_judged_by_what_came_after_its_fit(tmp_path):
    where = await stored(tmp_path / "rows.db", points(2600, drift=0.5))
    model = tmp_path / "model.json"

    told = await fitted("--from-store", "--since", "all", "--seconds", 120, "--output", model, **where)
    options = ("--from-store", "--since", "all", "--horizon", 0.5, "--micro-price", model)
    done, words = [await run(*options, *more, **where) for more in (["--json"], [])]

    assert (told.exit_code, done.exit_code, words.exit_code) == (0, 0, 0)
    assert told.text.startswith(
        "micro_price of BTCUSDT of binance: fitted to 120 s up to 2023-11-14 22:15:20 UTC, tick 0.01, "
    )
    ahead, limit = (done.found(name, 0.5) for name in ("micro_price_h", "micro_price"))
    assert ahead["pairs"] == limit["pairs"] == 2599 - 5 - 1201
    assert ahead["verdict"] == "beats"
    assert ahead["mincer_zarnowitz"]["low"] < 1 < ahead["mincer_zarnowitz"]["high"]
    assert limit["squared"] != ahead["squared"]
    assert f"{told.text}; judged 0 to 140 s later, and it grows old within minutes" in words.lines


async def test_a_model_of_another_symbol_or_tick_is_refused_and_one_of_later_data_judges_nothing(tmp_path):
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    where = await stored(here, points(1100, drift=0.5), points(1100, drift=0.5, symbol="ETHUSDT", tick=0.5))
    other = await stored(there, points(1100, drift=0.5, tick=0.5))
    model = tmp_path / "model.json"
    every = ("--from-store", "--since", "all")
    several = await fitted(*every, "--output", model, **where)
    one = await fitted(*every, "--symbol", "BTCUSDT", "--output", model, **where)

    wrong_tick = await run(*every, "--micro-price", model, **other)
    wrong_symbol = await run(*every, "--micro-price", model, "--symbol", "ETHUSDT", **where)
    late = await run(*every, "--micro-price", model, "--symbol", "BTCUSDT", "--horizon", 0.5, **where)

    assert (several.exit_code, one.exit_code) == (2, 0)
    assert several.error == "a model is of one symbol; choose one with --symbol: binance:BTCUSDT, binance:ETHUSDT"
    assert wrong_tick.error == (
        "the micro-price is of a tick of 0.01, and BTCUSDT of binance has one of 0.5: fit it anew"
    )
    assert wrong_symbol.error == "the micro-price is of BTCUSDT of binance; there is ETHUSDT of binance"
    assert late.exit_code == 0
    assert any(line.endswith("; all of this is older, so it is not judged") for line in late.lines)
    assert any(line.startswith("micro_price_h at 0.5 s: too few pairs to say anything: 0 ") for line in late.lines)


async def test_what_cannot_be_fitted_is_told_in_a_sentence(short, tmp_path):
    where = await stored(tmp_path / "rows.db", points(20, drift=0.5))
    options = ("--from-store", "--since", "all", "--output", tmp_path / "model.json")

    few, none = [await fitted(*options, *more, **where) for more in ([], ["--seconds", 0])]
    lines = short.read_text()
    path = tmp_path / "r"
    path.write_text(lines + "nonsense\n")
    unread = await fitted("--capture", path, "--output", tmp_path / "model.json")

    assert few.error == "no micro-price can be fitted to BTCUSDT of binance: no state was seen often enough"
    assert none.exit_code == 2
    assert unread.exit_code == 1
    assert unread.lines[-1] == "warning: 1 lines or parts of files cannot be read"
    assert json.loads((tmp_path / "model.json").read_text())["tick"] == "0.01"
