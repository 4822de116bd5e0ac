"""`gateway check`: whether a gateway with these settings could show prices and the past."""

import asyncio

import pytest
from clocks import ManualClock
from kept_history import KeptHistory
from ports import free_port

from fairprice.errors import StoreUnavailable
from gateway import program
from gateway.past import Past
from gateway.settings import GatewaySettings
from gateway.stored.opening import history_problem, open_history

INFLUXDB = f"influxdb://127.0.0.1:{free_port()}?org=market&bucket=ticks"


async def checked(monkeypatch, **environ):
    async def nothing_wrong(_service, _settings):
        return None

    monkeypatch.setattr(program, "broker_problem", nothing_wrong)
    monkeypatch.setattr(program.lifecycle, "start", lambda settings, environ, *_, **__: settings.load(environ))
    return await program._check(environ, asyncio.Event())


async def test_it_looks_at_the_store_that_it_would_read(monkeypatch, capsys, tmp_path):
    assert await checked(monkeypatch, FAIRPRICE_STORE_URL=f"sqlite:///{tmp_path}/prices.db") == 1
    assert "store      the history in" in capsys.readouterr().out
    assert await checked(monkeypatch, FAIRPRICE_STORE_URL=INFLUXDB) == 1
    assert "cannot be reached" in capsys.readouterr().out


async def test_a_store_that_answers_is_all_right_and_one_that_is_too_slow_is_not():
    history = KeptHistory()
    assert await history_problem(history) is None
    history.away = StoreUnavailable("gone")
    assert await history_problem(history) == "gone"
    history.open.clear()
    assert await history_problem(history, seconds=0) == "the store did not answer within 0 s"


async def test_a_token_that_is_not_there_yet_costs_the_past_until_it_is(tmp_path):
    file = tmp_path / "token"
    settings = GatewaySettings.load({"FAIRPRICE_STORE_URL": INFLUXDB, "FAIRPRICE_STORE_TOKEN_FILE": str(file)})
    past = Past(open_history(settings.store_url, settings.store_token), ManualClock())
    with pytest.raises(StoreUnavailable, match=r"cannot read InfluxDB's token: .*; `storer provision` puts it there"):
        await past.keys()
    file.write_text("one")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await past.keys()
    await past.aclose()
