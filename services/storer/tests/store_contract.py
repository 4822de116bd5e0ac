"""What every implementation of `storer.stores.port.Store` promises, seen from outside only.

A test module per store inherits the contract: `class TestSqlite(StoreContract): ...`, and supplies the fixture `kept`:
an empty store, and a way to read what it holds. Where the port lets stores differ (points of one key and different
revisions, a field that the later of two points lacks) nothing is asked here.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest
from clocks import ManualClock
from exchange_data import START, audit, book, gap, price, start

from fairprice.messages import Gap, Model
from storer.basis import BasisRecord, Touched
from storer.measurements import (
    Point,
    audit_point,
    fair_price_point,
    gap_point,
    model_point,
    order_book_point,
    start_point,
)
from storer.settlement import LOOK_BACK, Settled, Settlement
from storer.starts import Starts
from storer.stores.port import Row, Store

MODEL = Model(0, 1.5, -2.5, 4.5, 7.25, None, 1192, 1187, 1147, 0)
END = 2**63 - 1


class Read(Protocol):
    def __call__(self, measurement: str) -> list[dict[str, Any]]:
        """Return its rows by time: time, venue, symbol and every field that has a value."""


@dataclass(frozen=True)
class Kept:
    """A store, and a look at its rows from outside."""

    store: Store
    rows: Read


def points(*numbers: int, **changes: Any) -> list[Point]:
    return [replace(fair_price_point(price(number)), **changes) for number in numbers]


def expected(point: Point) -> dict[str, Any]:
    fields = {name: value for name, value in point.fields.items() if value is not None}
    decimals = {name: float(text) for name, text in point.decimals.items() if text is not None}
    return {"time": point.time, "venue": point.venue, "symbol": point.symbol, **fields, **decimals}


def too_large(number: int) -> Point:
    (point,) = points(number)
    return replace(point, fields={**point.fields, "update_id": 2**63})


def half_a_character(number: int) -> Point:
    (point,) = points(number)
    return replace(point, fields={**point.fields, "status": "\ud800"})


def an_impossible_time(number: int) -> Point:
    (point,) = points(number)
    return replace(point, time=2**63 + number)


async def read(kept: Kept, measurement: str, fields: list[str], start: int = 0, stop: int = END) -> list[Row]:
    return [row async for row in kept.store.rows(measurement, fields, "binance", "BTCUSDT", start, stop)]


class StoreContract:
    """Inherit it in a test module that supplies `kept`."""

    async def test_every_measurement_is_found_again_with_all_its_fields(self, kept: Kept):
        batch = [
            fair_price_point(price(1, price=None, status="crossed")),
            order_book_point(book(2), 4),
            gap_point(gap(3)),
            audit_point(audit(4, wrong=2, levels=1000)),
            start_point(start(6)),
            model_point(book(5), MODEL),
        ]
        assert await kept.store.write(batch) == []
        for point in batch:
            assert kept.rows(point.measurement) == [expected(point)]

    async def test_decimals_are_the_nearest_floats(self, kept: Kept):
        decimals = {"bid_price_00": "61000.01000000", "bid_size_00": None, "bid_price_01": "0.10000000000000000555111"}
        assert await kept.store.write([Point("order_book", START, "v", "S", {"update_id": 1}, decimals)]) == []
        (row,) = kept.rows("order_book")
        assert (row["bid_price_00"], row["bid_price_01"]) == (61000.01, 0.1)
        assert "bid_size_00" not in row

    async def test_ids_and_floats_come_back_as_they_were(self, kept: Kept):
        fields = {"update_id": 2**63 - 1, "a": 0.1 + 0.2, "b": 1.7976931348623157e308, "c": 2.0, "text": "a, b = c\\"}
        await kept.store.write([Point("fair_price", START, "v", "S", fields)])
        (row,) = kept.rows("fair_price")
        assert {name: row[name] for name in fields} == fields

    async def test_writing_twice_changes_nothing(self, kept: Kept):
        await kept.store.write([*points(1, 2, 3), *points(1, 2, 3)])
        before = kept.rows("fair_price")
        assert await kept.store.write(points(3, 1)) == []
        assert kept.rows("fair_price") == before
        assert len(before) == 3

    async def test_a_point_replaces_the_one_with_the_same_key(self, kept: Kept):
        (first,) = points(1)
        later = replace(first, fields={**first.fields, "price": 9.5, "status": "locked"})
        await kept.store.write([first])
        await kept.store.write([later])
        assert kept.rows("fair_price") == [expected(later)]

    @pytest.mark.parametrize("is_known_first", [True, False])
    async def test_a_value_that_a_crawler_does_not_know_takes_no_value_s_place(self, kept: Kept, is_known_first):
        (known,) = points(1)
        unknown = replace(known, fields={**known.fields, "forecast_mid": None, "band_1s_low": None, "status": "locked"})
        for point in (known, unknown) if is_known_first else (unknown, known):
            await kept.store.write([point])
        (row,) = kept.rows("fair_price")
        assert row == expected(known) | {"status": "locked" if is_known_first else "ok"}

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    async def test_one_crawler_s_good_or_empty_minute_hides_nothing_of_another_one_s(self, kept: Kept, order):
        accounts = [
            audit_point(audit(1, wrong=2, levels=1000, levels_wrong=7)),
            audit_point(audit(1, to_update_id=20)),
            audit_point(audit(1, tops=0, to_update_id=15)),
        ]
        for position in order:
            await kept.store.write([accounts[position]])
        (row,) = kept.rows("audit")
        assert (row["tops"], row["wrong"], row["levels"], row["levels_wrong"]) == (9, 2, 1000, 7)

    async def test_gaps_are_settled_from_its_rows(self, kept: Kept):
        whole = replace(gap(3), to_time=gap(3).from_time + 2000)  # a float without decimals
        await kept.store.write([gap_point(whole), gap_point(gap(20)), *points(*range(3, 9), 21, 23)])
        settlement = Settlement(kept.store, Settled(), clock=ManualClock(START))
        for _ in range(2):
            await settlement.settle(LOOK_BACK)
            filled, still_open = kept.rows("gap")
            assert filled == {**expected(gap_point(whole)), "open_ids": 0}
            assert still_open == {**expected(gap_point(gap(20))), "open_ids": 4}

    async def test_the_basis_is_worked_out_from_its_rows(self, kept: Kept):
        touched = Touched()
        record = BasisRecord(kept.store, touched)
        stored = [*points(10, 20), *points(10, venue="binance-usdm"), *points(10, symbol="ETHUSDT")]
        await kept.store.write(stored)
        touched.note(stored)
        for _ in range(2):
            await record.round()
        mid, against = (points(number)[0].fields["mid"] for number in (10, 20))
        point = Point(
            "basis", START, "binance-usdm", "BTCUSDT", {"basis_bps": (mid / against - 1) * 1e4, "against": "binance"}
        )
        assert kept.rows("basis") == [expected(point)]

    async def test_the_last_row_before_a_time_is_found_however_far_back_it_lies(self, kept: Kept):
        far = replace(points(1)[0], time=START - 10**15)
        await kept.store.write([far, *points(3, 4), *points(2, venue="binance-usdm"), *points(2, symbol="ETHUSDT")])

        async def last(before: int, measurement: str = "fair_price") -> Row | None:
            return await kept.store.last(measurement, ["update_id", "absent"], "binance", "BTCUSDT", before)

        assert await last(END) == (points(4)[0].time, 4, None)
        assert await last(points(4)[0].time) == (points(3)[0].time, 3, None)
        assert await last(points(3)[0].time) == (far.time, 1, None)
        assert await last(far.time) is None
        assert await last(END, "gap") is None

    async def test_what_is_missing_before_a_start_is_claimed_once_and_settled(self, kept: Kept):
        await kept.store.write([*points(3, 4, 9), start_point(start(9))])
        clock = ManualClock(START)
        await Starts(kept.store, Settled(), clock=clock).round()
        (claim,) = kept.rows("gap")
        assert claim == expected(gap_point(Gap("binance", "BTCUSDT", 5, 8, START + 4000, START + 9000, "no_state")))
        await kept.store.write(points(6))  # by another crawler, late
        for _ in range(2):
            await Starts(kept.store, Settled(), clock=clock).round()
            await Settlement(kept.store, Settled(), clock=clock).settle(LOOK_BACK)
            assert kept.rows("gap") == [{**claim, "open_ids": 3}]

    async def test_venue_symbol_and_time_tell_points_apart(self, kept: Kept):
        await kept.store.write([*points(1, 2), *points(1, venue="binance-usdm"), *points(1, symbol="ÄPFEL USD,1=2")])
        assert len(kept.rows("fair_price")) == 4

    async def test_fields_that_settings_add_later_are_kept_beside_the_others(self, kept: Kept):
        (first,), (second,) = points(1), points(2)
        second = replace(second, fields={**second.fields, "depth_bid_5bps": 3.5})
        await kept.store.write([first])
        await kept.store.write([second])
        assert kept.rows("fair_price") == [expected(first), expected(second)]

    @pytest.mark.parametrize("bad", [too_large, half_a_character, an_impossible_time])
    async def test_a_bad_point_is_rejected_with_its_place_and_a_reason_and_its_neighbours_are_kept(
        self, kept: Kept, bad
    ):
        batch = [*points(1, 2), bad(3), *points(4, 5), bad(6)]
        rejections = await kept.store.write(batch)
        assert [rejection.index for rejection in rejections] == [2, 5]
        assert all(rejection.reason for rejection in rejections)
        assert kept.rows("fair_price") == [expected(point) for point in points(1, 2, 4, 5)]

    async def test_a_batch_of_bad_points_only_keeps_nothing(self, kept: Kept):
        assert [rejection.index for rejection in await kept.store.write([too_large(1), too_large(2)])] == [0, 1]
        assert kept.rows("fair_price") == []

    async def test_nothing_to_write_is_no_trouble(self, kept: Kept):
        assert await kept.store.write([]) == []

    async def test_a_ping_leaves_nothing_behind(self, kept: Kept):
        await kept.store.ping()
        assert kept.rows("fair_price") == []

    async def test_rows_are_read_in_order_of_time_with_the_fields_that_were_asked_for(self, kept: Kept):
        await kept.store.write([*points(3, 1, 2), *points(2, symbol="ETHUSDT"), *points(2, venue="binance-usdm")])
        assert await read(kept, "fair_price", ["update_id", "price", "bid"]) == [
            (START + number * 1000, number, number + 0.25, number) for number in (1, 2, 3)
        ]

    async def test_a_period_holds_its_first_moment_and_not_its_last(self, kept: Kept):
        await kept.store.write(points(1, 2, 3))
        found = await read(kept, "fair_price", ["update_id"], START + 1000, START + 3000)
        assert [update_id for _, update_id in found] == [1, 2]

    async def test_a_value_that_is_absent_is_none_and_ids_are_whole(self, kept: Kept):
        point = Point("fair_price", START, "binance", "BTCUSDT", {"price": None, "update_id": 2**63 - 1})
        await kept.store.write([point])
        assert await read(kept, "fair_price", ["price", "update_id", "unheard_of"]) == [(START, None, 2**63 - 1, None)]

    async def test_what_is_not_there_has_no_rows(self, kept: Kept):
        assert await read(kept, "fair_price", ["update_id"]) == []
        assert await read(kept, "gap", await kept.store.fields("gap")) == []
        assert await kept.store.keys("fair_price", 0, END) == []
        await kept.store.write(points(1))
        assert await read(kept, "fair_price", ["unheard_of"]) in ([], [(START + 1000, None)])  # the port lets it

    async def test_keys_are_those_that_have_points_in_the_period(self, kept: Kept):
        strange = "Ä'PF\"EL,1=2"
        await kept.store.write([*points(1, 2), *points(5, symbol=strange), *points(1, venue="binance-usdm")])
        everything = [("binance", "BTCUSDT"), ("binance", strange), ("binance-usdm", "BTCUSDT")]
        assert await kept.store.keys("fair_price", 0, END) == everything
        assert await kept.store.keys("fair_price", START + 5000, END) == [("binance", strange)]
        assert await kept.store.keys("fair_price", START + 5001, END) == []
        found = [row async for row in kept.store.rows("fair_price", ["update_id"], "binance", strange, 0, END)]
        assert found == [(START + 5000, 5)]

    async def test_the_fields_are_those_that_any_point_has(self, kept: Kept):
        assert await kept.store.fields("model") == []
        first = Point("model", START, "binance", "BTCUSDT", {"update_id": 1, "beta": 0.5})
        other = Point("model", START + 1, "binance", "ETHUSDT", {"update_id": 1, "half_width": 0.25})
        await kept.store.write([first, other])
        assert await kept.store.fields("model") == ["beta", "half_width", "update_id"]

    @pytest.mark.slow
    async def test_more_rows_than_a_page_come_each_once(self, kept: Kept):
        await kept.store.write(points(*range(41_000)))
        assert await read(kept, "fair_price", ["update_id"]) == [(START + n * 1000, n) for n in range(41_000)]

    async def test_batches_of_thousands_may_overlap(self, kept: Kept):
        prices, books = points(*range(3000)), [order_book_point(book(number), 4) for number in range(3000)]
        assert await asyncio.gather(kept.store.write(prices), kept.store.write(books)) == [[], []]
        assert (len(kept.rows("fair_price")), len(kept.rows("order_book"))) == (3000, 3000)

    async def test_a_write_that_is_cancelled_may_be_repeated(self, kept: Kept):
        writing = asyncio.create_task(kept.store.write(points(*range(1000))))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing})
        assert await kept.store.write(points(*range(1000))) == []
        assert kept.rows("fair_price") == [expected(point) for point in points(*range(1000))]
