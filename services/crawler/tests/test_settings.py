from pathlib import Path

import pytest
from pydantic import ValidationError
from tables import each_row

from crawler.settings import CrawlerSettings
from crawler.venues.table import VENUES
from fairprice.errors import SettingsError
from fairprice.runtime.settings import VARIABLES


def test_without_any_variable_it_is_binance_s_market_data_hosts():
    settings = CrawlerSettings.load({})
    assert (settings.venue, settings.the_venue()) == ("binance", VENUES["binance"])
    assert settings.symbols == ("BTCUSDT",)
    assert settings.urls() == ("https://data-api.binance.vision", "wss://data-stream.binance.vision")
    assert (settings.book_levels, settings.snapshot_levels, settings.stream_connections) == (20, 1000, 2)
    assert (settings.silence_timeout, settings.address_share) == (10.0, 1.0)
    assert settings.state_dir == Path("var/state")


@pytest.mark.parametrize("name", VENUES)
def test_addresses_follow_from_the_venue_and_can_be_set_one_by_one(name):
    own = VENUES[name].rest_url, VENUES[name].stream_url
    environ = {"FAIRPRICE_VENUE": name.upper()}
    assert CrawlerSettings.load(environ).urls() == own
    environ["FAIRPRICE_EXCHANGE_REST_URL"] = "http://127.0.0.1:9000/"
    assert CrawlerSettings.load(environ).urls() == ("http://127.0.0.1:9000", own[1])
    environ["FAIRPRICE_EXCHANGE_STREAM_URL"] = "ws://127.0.0.1:9000"
    assert CrawlerSettings.load(environ).urls() == ("http://127.0.0.1:9000", "ws://127.0.0.1:9000")


@each_row(
    ("variable", "text", "field", "value"),
    [
        ("FAIRPRICE_SYMBOLS", "BTCUSDT, eth/usdt,", "symbols", ("BTCUSDT", "ETHUSDT")),
        ("FAIRPRICE_ADDRESS_SHARE", "0.5", "address_share", 0.5),
        ("FAIRPRICE_BOOK_LEVELS", "1", "book_levels", 1),
        ("FAIRPRICE_BOOK_LEVELS", "400", "book_levels", 400),
        ("FAIRPRICE_SNAPSHOT_LEVELS", "100", "snapshot_levels", 100),
        ("FAIRPRICE_SNAPSHOT_LEVELS", "5000", "snapshot_levels", 5000),
        ("FAIRPRICE_STREAM_CONNECTIONS", "1", "stream_connections", 1),
        ("FAIRPRICE_STREAM_CONNECTIONS", "4", "stream_connections", 4),
        ("FAIRPRICE_SILENCE_TIMEOUT", "500ms", "silence_timeout", 0.5),
        ("FAIRPRICE_SILENCE_TIMEOUT", "2m", "silence_timeout", 120.0),
        ("FAIRPRICE_STATE_DIR", "/var/lib/fairprice", "state_dir", Path("/var/lib/fairprice")),
    ],
)
def test_each_setting_has_its_variable_and_takes_its_bounds(variable, text, field, value):
    assert getattr(CrawlerSettings.load({variable: text}), field) == value


@each_row(
    ("variable", "text"),
    [
        ("FAIRPRICE_VENUE", "kraken"),
        ("FAIRPRICE_SYMBOLS", "BTCUSDT@depth"),
        ("FAIRPRICE_EXCHANGE_REST_URL", "data-api.binance.vision"),
        ("FAIRPRICE_EXCHANGE_STREAM_URL", "https://data-stream.binance.vision"),
        ("FAIRPRICE_ADDRESS_SHARE", "0"),
        ("FAIRPRICE_ADDRESS_SHARE", "1.5"),
        ("FAIRPRICE_BOOK_LEVELS", "0"),
        ("FAIRPRICE_BOOK_LEVELS", "401"),
        ("FAIRPRICE_BOOK_LEVELS", "many"),
        ("FAIRPRICE_SNAPSHOT_LEVELS", "99"),
        ("FAIRPRICE_SNAPSHOT_LEVELS", "5001"),
        ("FAIRPRICE_STREAM_CONNECTIONS", "0"),
        ("FAIRPRICE_STREAM_CONNECTIONS", "5"),
        ("FAIRPRICE_SILENCE_TIMEOUT", "0s"),
        ("FAIRPRICE_SILENCE_TIMEOUT", "10"),
        ("FAIRPRICE_SILENCE_TIMEOUT", "-1s"),
    ],
)
def test_a_value_out_of_bounds_is_refused_under_its_variable_s_name(variable, text):
    with pytest.raises(SettingsError, match=variable):
        CrawlerSettings.load({variable: text})


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(SettingsError, match=r"FAIRPRICE_SYMBOL is no setting.*BOOK_LEVELS.*STREAM_CONNECTIONS"):
        CrawlerSettings.load(
            {"FAIRPRICE_SYMBOL": "BTCUSDT", "FAIRPRICE_BOOK_LEVELS": "x", "FAIRPRICE_STREAM_CONNECTIONS": "9"}
        )


def test_state_can_be_switched_off_and_settings_do_not_change():
    settings = CrawlerSettings.load({}, state_dir=None)
    assert settings.state_dir is None
    with pytest.raises(ValidationError):
        settings.book_levels = 5


def test_every_setting_is_known_to_the_other_services():
    """They are given the same environment, and refuse names that nobody knows."""
    assert {f"FAIRPRICE_{field.upper()}" for field in CrawlerSettings.model_fields} <= set(VARIABLES)
