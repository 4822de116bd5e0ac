"""The store that `docs/adding-a-store.md` walks through: it passes the contract, so the document leads somewhere."""

import orjson
import pytest
from store_contract import Kept, StoreContract
from toy.store import open_json

from fairprice.errors import StartupError, StoreUnavailable
from storer.measurements import Point


class TestJson(StoreContract):
    """Collects the contract."""

    @pytest.fixture
    async def kept(self, tmp_path):
        path = tmp_path / "rows.json"
        store = await open_json(path)

        def read(measurement):
            rows = [row for row in orjson.loads(path.read_bytes()) if row["measurement"] == measurement]
            return [
                {"time": row["time"], "venue": row["venue"], "symbol": row["symbol"]}
                | {name: value for name, value in row["fields"].items() if value is not None}
                for row in sorted(rows, key=lambda row: row["time"])
            ]

        yield Kept(store, read)
        await store.close()


async def test_a_file_of_another_kind_is_no_place_to_store(tmp_path):
    (tmp_path / "notes.json").write_text("[1]")
    with pytest.raises(StartupError, match=r"notes\.json"):
        await open_json(tmp_path / "notes.json")


async def test_a_place_that_cannot_be_written_is_no_place_to_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="file"):
        await open_json(tmp_path / "file" / "rows.json")


async def test_what_may_pass_is_unavailable_and_works_again(tmp_path):
    store = await open_json(tmp_path / "rows.json")
    point = Point("gap", 1, "v", "S", {"to_update_id": 1})
    (tmp_path / "rows.new").mkdir()
    with pytest.raises(StoreUnavailable, match="rows"):
        await store.write([point])
    (tmp_path / "rows.new").rmdir()
    assert await store.write([point]) == []
    await store.close()
    again = await open_json(tmp_path / "rows.json")
    assert len(orjson.loads((tmp_path / "rows.json").read_bytes())) == 1
    await again.close()
