"""Where the storer is told to store, with which secret, and what it opens then."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from tables import each_row

from fairprice.errors import SettingsError, StartupError
from fairprice.runtime.settings import SECRETS, FileSecret
from fairprice.store_address import InfluxAddress, SqliteAddress, parse
from storer.program import open_store
from storer.settings import StorerSettings
from storer.stores.influxdb import InfluxStore
from storer.stores.sqlite import SqliteStore


@each_row(
    ("text", "address"),
    [
        (
            "influxdb://localhost:8086?org=market&bucket=ticks",
            InfluxAddress("http://localhost:8086", "market", "ticks"),
        ),
        ("influxdb://db?bucket=b&org=o", InfluxAddress("http://db:8086", "o", "b")),
        ("influxdbs://db:443/a/b/?org=o&bucket=b", InfluxAddress("https://db:443/a/b", "o", "b")),
        ("influxdb://[::1]:9?org=o&bucket=b", InfluxAddress("http://[::1]:9", "o", "b")),
        ("influxdb://db?org=my%20org&bucket=b%26c", InfluxAddress("http://db:8086", "my org", "b&c")),
        ("sqlite:///var/fairprice.db", SqliteAddress(Path("var/fairprice.db"))),
        ("sqlite:////var/fairprice.db", SqliteAddress(Path("/var/fairprice.db"))),
    ],
)
def test_an_address_is_understood(text, address):
    assert parse(text) == address
    assert StorerSettings.load({"FAIRPRICE_STORE_URL": text}).store_url == address


@each_row(
    ("text", "told"),
    [
        ("localhost:8086", "write influxdb://HOST"),
        ("http://localhost:8086?org=o&bucket=b", "write influxdb://HOST"),
        ("influxdb:///ticks", "write influxdb://HOST"),
        ("sqlite:///", "write influxdb://HOST"),
        ("influxdb://localhost", "name the organization and the bucket"),
        ("influxdb://localhost?org=o", "name the organization and the bucket"),
        ("influxdb://localhost?org=o&bucket=", "name the organization and the bucket"),
        ("influxdb://localhost?org=o&bucket=a&bucket=b", "name the organization and the bucket"),
        ("influxdb://localhost?org=o&bucket=b&token=t", "name the organization and the bucket"),
        ("influxdb://user:password@localhost?org=o&bucket=b", "leave user and password out"),
        ("influxdb://localhost:port?org=o&bucket=b", "[Pp]ort"),
        ("influxdb://localhost:99999?org=o&bucket=b", "[Pp]ort"),
        ("influxdb://[::1?org=o&bucket=b", "IPv6"),
    ],
)
def test_another_text_is_an_error_that_tells_what_to_write(text, told):
    with pytest.raises(SettingsError, match=f"^FAIRPRICE_STORE_URL: .*{told}"):
        StorerSettings.load({"FAIRPRICE_STORE_URL": text})


@pytest.mark.parametrize(("text", "hours"), [("7d", 168), ("36h", 36), ("2w", 336), ("none", 0)])
def test_a_retention_is_whole_hours(text, hours):
    assert StorerSettings.load({"FAIRPRICE_STORE_RETENTION": text}).store_retention == hours


@pytest.mark.parametrize("text", ["7", "0d", "1.5d", "90m", "-1d", "forever"])
def test_another_retention_is_named(text):
    with pytest.raises(SettingsError, match="FAIRPRICE_STORE_RETENTION: write whole hours"):
        StorerSettings.load({"FAIRPRICE_STORE_RETENTION": text})


def test_the_token_may_be_in_a_file_and_is_never_shown(tmp_path):
    file = tmp_path / "token"
    file.write_text("hush\n")
    settings = StorerSettings.load({"FAIRPRICE_STORE_TOKEN_FILE": str(file)})
    assert isinstance(settings.store_token, FileSecret)
    assert settings.store_token.get_secret_value() == "hush"
    file.write_text("changed")
    assert settings.store_token.get_secret_value() == "changed"
    assert "hush" not in f"{settings!r}{settings}"
    assert StorerSettings.load({"FAIRPRICE_STORE_TOKEN": "hush"}).store_token == SecretStr("hush")


def test_a_token_of_two_lines_is_named():
    with pytest.raises(SettingsError, match="FAIRPRICE_STORE_TOKEN: write the token alone") as raised:
        StorerSettings.load({"FAIRPRICE_STORE_TOKEN": "hush\nhush"})
    assert "hush" not in str(raised.value)


def test_every_secret_of_the_storer_may_be_in_a_file():
    fields = StorerSettings.model_fields.items()
    assert {f"FAIRPRICE_{name.upper()}" for name, field in fields if field.annotation is SecretStr} <= set(SECRETS)


async def test_the_address_chooses_the_store(tmp_path):
    sqlite = await open_store(StorerSettings(store_url=f"sqlite:///{tmp_path / 'a.db'}"))
    influxdb = await open_store(StorerSettings(store_timeout=3, store_gzip=True))
    assert (type(sqlite), type(influxdb)) == (SqliteStore, InfluxStore)
    await sqlite.close()
    await influxdb.close()
    with pytest.raises(StartupError, match="it is a folder"):
        await open_store(StorerSettings(store_url=f"sqlite:///{tmp_path}"))
