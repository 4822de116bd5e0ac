"""docs/analysis.md: what it says to type works on what is stored, where the package is there."""

import os
import re
from pathlib import Path

import preloaded
import pytest
from exchange_data import START, price

from storer.measurements import fair_price_point
from storer.stores.sqlite import open_sqlite

DOCUMENT = (Path(__file__).parents[1] / "docs" / "analysis.md").read_text()
BLOCKS = {match[1]: match[2] for match in re.finditer(r"## ([^\n]+)\n[^#]*?```python\n(.*?)```", DOCUMENT, re.DOTALL)}

pytestmark = [pytest.mark.slow, pytest.mark.may_skip]


def test_each_tool_has_three_lines():
    assert {name: block.count("\n") for name, block in BLOCKS.items()} == {
        "pandas": 3, "polars": 3, "DuckDB": 3, "The SQLite file itself": 3
    }  # fmt: skip


@pytest.fixture
async def stored(tmp_path, monkeypatch):
    store = await open_sqlite(tmp_path / "var" / "fairprice.db")
    await store.write([fair_price_point(price(second * 1000)) for second in range(90)])
    await store.write(
        [fair_price_point(price(second * 1000, price=None, status="crossed")) for second in range(90, 95)]
    )
    await store.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.filterwarnings("ignore")
async def test_it_works_as_it_is_written(stored, name):
    block = BLOCKS[name]
    package = re.match(r"import (\w+)", block)[1]
    pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")
    if "parquet" in block:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("FAIRPRICE_")}
        environ["FAIRPRICE_STORE_URL"] = f"sqlite:///{stored / 'var' / 'fairprice.db'}"
        arguments = ("--symbol", "BTCUSDT", "--from", "2024-08-08", "--to", "2024-08-09", "--format", "parquet")
        done = preloaded.run("storer", "export", *arguments, "--output", str(stored / "day"), environ=environ)
        assert (done.returncode, done.stderr) == (0, "")
    found = {}
    exec(compile(block, name, "exec"), found)
    if "bars" in found:
        assert [int(time) for time in found["bars"]["time"]] == [START, START + 60_000_000]
    else:
        assert len(found["prices"].collect() if name == "polars" else found["prices"]) == 90
        assert len(found["spreads"]) == 2
