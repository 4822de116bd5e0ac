"""Addresses as people write them."""

import pytest
from tables import each_row

from crawler.venues.binance.venue import Binance
from crawler.venues.binance_usdm.venue import BinanceUsdm

REST, STREAM = "https://a.example", "wss://b.example:9443"


@each_row("ending", ["", "/", "/api", "/api/", "/api/v3", "/api/v3/"])
@each_row("stream_ending", ["", "/", "/ws", "/stream", "/stream/"])
def test_what_other_libraries_want_behind_the_host_is_taken_off(ending, stream_ending):
    assert Binance().normal_urls(REST + ending, STREAM + stream_ending) == (REST, STREAM)


@each_row("ending", ["", "/fapi", "/fapi/v1", "/fapi/v2/"])
@each_row("stream_ending", ["", "/ws", "/stream", "/public/stream", "/public", "/market/ws/"])
def test_and_so_for_futures(ending, stream_ending):
    assert BinanceUsdm().normal_urls(REST + ending, STREAM + stream_ending) == (REST, STREAM)


@pytest.mark.parametrize("venue", [Binance(), BinanceUsdm()], ids=lambda venue: venue.name)
def test_the_defaults_are_in_form(venue):
    assert venue.normal_urls(venue.rest_url, venue.stream_url) == (venue.rest_url, venue.stream_url)


def test_a_path_in_front_of_the_exchanges_own_stays():
    assert Binance().normal_urls("http://localhost:80/mirror/api/v3", "ws://localhost/mirror/ws") == (
        "http://localhost:80/mirror",
        "ws://localhost/mirror",
    )


@each_row(
    ("rest", "stream", "named"),
    [
        ("a.example", STREAM, "'a.example' is no REST address; write https://"),
        ("localhost:9000", STREAM, "is no REST address"),
        ("", STREAM, "is no REST address"),
        ("wss://a.example", STREAM, "is no REST address; write https:// or http://"),
        ("https://", STREAM, "is no REST address"),
        ("https://a.example:port", STREAM, "is no REST address"),
        (REST, "https://b.example", "is no stream address; write wss:// or ws://"),
        (REST, "b.example", "is no stream address"),
        (REST, "wss://b.example/stream?streams=btcusdt@depth", "is no stream address"),
        (REST, "wss://[b.example", "is no stream address"),
    ],
)
@each_row("venue", [Binance(), BinanceUsdm()], ids=lambda venue: venue.name)
def test_what_is_no_address_is_refused_with_the_form(venue, rest, stream, named):
    with pytest.raises(ValueError, match="is no") as refused:
        venue.normal_urls(rest, stream)
    assert named in str(refused.value)


def test_the_address_to_connect_to_has_the_markets_own_path():
    assert Binance().stream_address(STREAM) == STREAM + "/stream?timeUnit=MICROSECOND"
    assert BinanceUsdm().stream_address(STREAM) == STREAM + "/public/stream"
