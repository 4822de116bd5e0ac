import orjson
import pytest
from tables import each_row

from simulator import START_US, Exchange, Fault, Knobs
from simulator.limits import Limits
from simulator.rest import Request, Rest

SYMBOLS = ("BTCUSDT", "HALTUSDT", "币安人生USDT")


class Client:
    def __init__(self, knobs=None) -> None:
        self.exchange = Exchange(SYMBOLS, knobs=knobs)
        self.exchange.frames(START_US + 1_000_000)
        self.limits = Limits(self.exchange.knobs)
        self.rest = Rest(self.exchange, self.limits, self.exchange.knobs)
        self.now = self.exchange.now_us

    def get(self, path, *more, headers=None, address="10.0.0.1", **parameters):
        return self.rest.answer(Request(path, [*parameters.items(), *more], headers or {}, address, self.now))

    def depth(self, **parameters):
        return self.get("/api/v3/depth", **parameters)

    def info(self, **parameters):
        return self.get("/api/v3/exchangeInfo", **parameters)


@pytest.fixture(scope="module")
def shared():
    return Client()


@pytest.fixture
def client(shared):
    shared.limits = Limits(shared.exchange.knobs)
    shared.rest = Rest(shared.exchange, shared.limits, shared.exchange.knobs)
    return shared


def code(reply):
    return reply.status, orjson.loads(reply.body)["code"]


def test_depth_has_levels_of_two_strings_best_first(client):
    book = orjson.loads(client.depth(symbol="BTCUSDT").body)
    bids, asks = [float(price) for price, _ in book["bids"]], [float(price) for price, _ in book["asks"]]
    assert list(book) == ["lastUpdateId", "bids", "asks"]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert all(isinstance(part, str) for level in book["bids"] for part in level)


@pytest.mark.parametrize(
    ("limit", "levels", "weight"),
    [
        (None, 100, 5), ("1", 1, 5), ("100", 100, 5), ("101", 101, 25), ("500", 500, 25), ("501", 501, 50),
        ("1000", 1000, 50), ("1001", 1001, 250), ("5000", 5000, 250), ("99999", 5000, 250),
    ],
)  # fmt: skip
def test_depth_gives_the_levels_asked_for_at_their_weight(client, limit, levels, weight):
    reply = client.depth(symbol="BTCUSDT", **({"limit": limit} if limit else {}))
    assert len(orjson.loads(reply.body)["bids"]) == levels
    assert reply.headers["x-mbx-used-weight-1m"] == reply.headers["x-mbx-used-weight"] == str(weight)


@each_row(
    ("parameters", "expected"),
    [
        ({}, -1102),
        ({"symbol": ""}, -1102),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"symbol": "btcusdt"}, -1100),
        ({"symbol": "BTC/USDT"}, -1100),
        ({"symbol": "BTCUSDT", "limit": "ten"}, -1100),
        ({"symbol": "BTCUSDT", "limit": "-5"}, -1100),
        ({"symbol": "BTCUSDT", "limit": "0"}, -1100),
        ({"symbol": "BTCUSDT", "depth": "5"}, -1104),
        ({"symbol": "BTCUSDT", "symbolStatus": "ASLEEP"}, -1122),
        ({"symbol": "BTCUSDT", "symbolStatus": "BREAK"}, -1220),
    ],
)
def test_a_wrong_depth_request_is_refused_with_its_code(client, parameters, expected):
    assert code(client.depth(**parameters)) == (400, expected)


def test_a_parameter_sent_twice_is_too_many(client):
    assert code(client.get("/api/v3/depth", ("symbol", "BTCUSDT"), symbol="BTCUSDT")) == (400, -1101)


def test_a_symbol_may_be_of_any_script(client):
    assert client.depth(symbol="币安人生USDT").status == 200


def test_exchange_info_tells_symbols_filters_and_limits(client):
    info = orjson.loads(client.info().body)
    symbols = {one["symbol"]: one for one in info["symbols"]}
    bitcoin = symbols["BTCUSDT"]
    filters = {one["filterType"]: one for one in bitcoin["filters"]}
    limits = {one["rateLimitType"]: one for one in info["rateLimits"]}
    assert set(symbols) == set(SYMBOLS)
    assert (bitcoin["status"], bitcoin["baseAsset"], bitcoin["quoteAsset"]) == ("TRADING", "BTC", "USDT")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert "minNotional" in filters["NOTIONAL"]
    assert (bitcoin["permissions"], bitcoin["permissionSets"]) == ([], [["SPOT"]])
    assert symbols["HALTUSDT"]["status"] == "BREAK"
    weight = limits["REQUEST_WEIGHT"]
    assert (weight["interval"], weight["intervalNum"], weight["limit"]) == ("MINUTE", 1, 6000)
    assert limits["RAW_REQUESTS"]["limit"] == 300_000
    assert info["serverTime"] == client.now // 1000
    assert client.info().headers["x-mbx-used-weight-1m"] == "40"


@pytest.mark.parametrize(
    ("parameters", "symbols"),
    [
        ({"symbol": "BTCUSDT"}, ["BTCUSDT"]),
        ({"symbols": '["HALTUSDT","BTCUSDT"]'}, ["HALTUSDT", "BTCUSDT"]),
        ({"symbolStatus": "BREAK"}, ["HALTUSDT"]),
        ({"permissions": "SPOT"}, list(SYMBOLS)),
    ],
)
def test_exchange_info_can_be_filtered(client, parameters, symbols):
    assert [one["symbol"] for one in orjson.loads(client.info(**parameters).body)["symbols"]] == symbols


def test_permission_sets_can_be_left_out(client):
    assert "permissionSets" not in orjson.loads(client.info(showPermissionSets="false").body)["symbols"][0]


@each_row(
    ("parameters", "expected"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"symbols": '["BTCUSDT","NOPE"]'}, -1121),
        ({"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ({"symbols": "BTCUSDT"}, -1100),
        ({"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ({"symbol": "BTCUSDT", "symbolStatus": "BREAK"}, -1128),
        ({"symbolStatus": "ODD"}, -1122),
    ],
)
def test_a_wrong_exchange_info_request_is_refused_with_its_code(client, parameters, expected):
    assert code(client.info(**parameters)) == (400, expected)


def test_ping_and_time_answer_at_weight_one(client):
    assert client.get("/api/v3/ping").body == b"{}"
    reply = client.get("/api/v3/time")
    assert orjson.loads(reply.body) == {"serverTime": client.now // 1000}
    assert reply.headers["x-mbx-used-weight-1m"] == "2"


def test_the_server_time_is_in_microseconds_on_request(client):
    reply = client.get("/api/v3/time", headers={"x-mbx-time-unit": "MICROSECOND"})
    assert orjson.loads(reply.body) == {"serverTime": client.now}


@pytest.mark.parametrize("path", ["/api/v1/depth", "/api/v1/ping", "/api/v3/nothing", "/"])
def test_other_paths_do_not_exist_and_say_so_in_html_only_to_browsers(client, path):
    assert client.get(path).status == 404
    assert "json" in client.get(path).content_type
    assert client.get(path, headers={"accept": "text/html,*/*"}).content_type == "text/html"


def test_too_much_weight_is_refused_with_429_until_the_minute_is_over():
    client = Client(Knobs(weight_per_minute=60))
    client.now = START_US // 60_000_000 * 60_000_000 + 600_000_000 + 20_000_000
    replies = [client.depth(symbol="BTCUSDT", limit="101") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert orjson.loads(replies[2].body)["code"] == -1003
    assert replies[2].headers["Retry-After"] == "40"
    assert client.get("/api/v3/ping", address="10.0.0.2").status == 200
    client.now += 40_000_000
    assert client.depth(symbol="BTCUSDT").status == 200
    assert client.limits.breaches == {"weight": 1}


def test_who_carries_on_is_banned_and_each_ban_is_longer():
    client = Client(Knobs(weight_per_minute=1, requests_before_ban=2))
    waits = []
    for _ in range(3):
        for expected in (200, 429, 429, 418, 418):
            reply = client.get("/api/v3/ping")
            assert reply.status == expected
        until = (client.now + int(reply.headers["Retry-After"]) * 1_000_000) // 1000
        assert f"IP banned until {until}" in orjson.loads(reply.body)["msg"]
        waits.append(int(reply.headers["Retry-After"]))
        client.now = (client.now // 60_000_000 + 1) * 60_000_000 + waits[-1] * 1_000_000
        client.now = (client.now // 60_000_000 + 1) * 60_000_000
    assert waits == [120, 240, 480]
    assert client.limits.breaches["request_during_wait"] > 0


def test_no_ban_is_longer_than_three_days():
    client = Client(Knobs(weight_per_minute=0, requests_before_ban=0))
    for _ in range(15):
        reply = client.get("/api/v3/ping")
        client.now += int(reply.headers["Retry-After"]) * 1_000_000
    assert reply.headers["Retry-After"] == str(3 * 24 * 3600)


def test_raw_requests_are_limited_too():
    client = Client(Knobs(raw_requests_per_5_minutes=2))
    assert [client.get("/api/v3/ping").status for _ in range(3)] == [200, 200, 429]
    assert client.limits.breaches == {"raw_requests": 1}


def test_a_request_before_the_wait_of_an_injected_refusal_is_over_counts_as_a_breach():
    client = Client()
    client.exchange.inject(Fault("rate_limit", seconds=10))
    assert client.depth(symbol="BTCUSDT").status == 429
    client.now += 9_000_000
    client.depth(symbol="BTCUSDT")
    client.now += 2_000_000
    client.depth(symbol="BTCUSDT")
    assert client.limits.breaches == {"request_during_wait": 1}
