"""The containers as a person starts them, on a real engine: from nothing to prices, killed, restarted, scaled.

One stack on the simulated market serves all tests, in this order; each leaves it running and healthy.
"""

import json
import os
import time

import dashboards
import pytest
from compose_stack import SERVICES, Stack, get, run
from waiting import eventually

WANTED = "FAIRPRICE_TEST_COMPOSE"
GRACE_SECONDS = 30
SIGKILLED = 137

pytestmark = [pytest.mark.compose, pytest.mark.may_skip, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def stack():
    if not os.environ.get(WANTED):
        pytest.skip(f"needs a Docker engine, and {WANTED}=1, since it builds images and runs containers for minutes")
    run("docker", "compose", "version")
    stack = Stack("fairprice-test")
    stack.down("--volumes")
    try:
        stack.compose("--profile", "*", "build", "--quiet", seconds=600)
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")


@pytest.fixture(autouse=True)
def _told_what_was_wrong(stack, request):
    """Show on a failure what the containers said."""
    failures = request.session.testsfailed
    yield
    if request.session.testsfailed > failures:
        print(stack.story())  # noqa: T201


def test_all_of_it_becomes_healthy_from_nothing(stack):
    containers = {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in stack.containers()}

    states = {name: each["State"].get("Health", {}).get("Status") for name, each in containers.items()}
    ended = {name for name, each in containers.items() if each["State"]["Status"] == "exited"}
    assert ended == {"credentials", "provisioner"}
    assert {states[name] for name in states.keys() - ended} == {"healthy"}
    assert {containers[name]["State"]["ExitCode"] for name in ended} == {0}


def test_prices_are_stored_and_shown(stack):
    eventually(lambda: stack.flows(time.time() - 5), why="nothing flows")

    eventually(lambda: is_priced(stack.rows("SELECT * FROM fair_price ORDER BY time DESC LIMIT 1")[0]))
    eventually(lambda: stack.rows("SELECT * FROM order_book ORDER BY time DESC LIMIT 1"))
    assert "<title>" in get(stack.url("FAIRPRICE_HTTP_PORT", "/"))[1]


def is_priced(row):
    """Whether it has a price between bid and ask; the newest row may be read while its fields are being written."""
    prices = row["bid"], row["price"], row["ask"]
    return None not in prices and list(prices) == sorted(prices)


def test_every_target_of_prometheus_is_up(stack):
    stand_in = {"grafana"} if get(stack.url("GRAFANA_PORT", "/metrics"))[0] == 404 else set()

    def missing():
        """Return who is not up: a target that is down, or one that was not even found."""
        targets = {
            result["metric"]["job"]: result["value"][1] == "1" for result in stack.prometheus("min by (job) (up)")
        }
        expected = {*SERVICES, "rabbitmq", "influxdb", "grafana", "prometheus"} - stand_in
        return {name for name in expected if not targets.get(name)}

    eventually(lambda: not missing(), why=lambda: f"not up: {missing()}")


def test_what_is_killed_comes_back_and_nothing_is_lost(stack):
    for name in ("crawler", "converter", "storer", "gateway", "rabbitmq", "influxdb", "prometheus", "grafana"):
        (before,) = stack.containers(name)
        stack.kill(before)
        killed = time.time()
        eventually(lambda name=name, before=before: has_restarted(stack, name, before), why=f"{name} stays away")
        eventually(lambda killed=killed: stack.flows(killed + 1), why=lambda name=name: f"no prices after {name} died")
    eventually(lambda: not stack.unhealthy(), why=lambda: f"not healthy: {stack.unhealthy()}")
    newest = stack.newest()
    eventually(lambda: not hole(stack, newest), why=lambda: hole(stack, newest))
    assert {row["reason"] for row in stack.rows("SELECT reason FROM gap")} == {"restart"}, "only the crawler misses"


def has_restarted(stack, name, before):
    (now,) = stack.containers(name)
    return now["State"]["Running"] and now["RestartCount"] > before["RestartCount"]


def test_a_stop_drains_and_a_new_start_finds_everything(stack, tmp_path):
    stored, secrets = stack.newest(), stack.secrets()
    begun = time.monotonic()
    stack.compose("stop", seconds=120)

    took = time.monotonic() - begun
    ends = {each["Name"]: each["State"]["ExitCode"] for each in stack.containers()}
    stack.compose("cp", "crawler:/var/lib/fairprice/binance.0.json", str(tmp_path))
    last = json.loads((tmp_path / "binance.0.json").read_text())["BTCUSDT"]
    assert SIGKILLED not in ends.values(), ends
    assert {ends[name] for name in ends if any(f"-{service}-" in name for service in SERVICES)} == {0}, ends
    assert took < GRACE_SECONDS
    stack.down()
    stack.up()

    assert stack.secrets() == secrets
    assert last["event_time"] > stored
    eventually(
        lambda: stack.rows(f"SELECT update_id FROM fair_price WHERE venue = 'binance' AND time = {last['event_time']}u")
    )
    eventually(lambda: not hole(stack, last["event_time"]), why=lambda: hole(stack, last["event_time"]))


def hole(stack, until):
    """Return which update ids from the first row up to that time are in no row and in no gap."""
    when = f"WHERE venue = 'binance' AND symbol = 'BTCUSDT' AND time <= {until}u"
    ranges = [
        (row["first_update_id"], row["update_id"])
        for row in stack.rows(f"SELECT first_update_id, update_id FROM fair_price {when}")
    ]
    reached = min(ranges)[0] - 1
    ranges += [
        (row["from_update_id"], row["to_update_id"])
        for row in stack.rows(f"SELECT from_update_id, to_update_id FROM gap {when}")
    ]
    for first, last in sorted(ranges):
        if first > reached + 1:
            return f"{reached + 1} to {first - 1} are in no row and in no gap"
        reached = max(reached, last)
    return None


def test_converters_and_storers_can_be_many(stack):
    stack.up("--scale", "converter=3", "--scale", "storer=2")

    eventually(lambda: stack.queue("books.converter").get("consumers") == 3)
    eventually(lambda: [stack.queue(f"{kind}.storer").get("consumers") for kind in ("books", "prices")] == [2, 2])
    scaled = time.time()
    eventually(lambda: stack.flows(scaled))
    stack.up("--scale", "converter=1", "--scale", "storer=1")


def test_a_consumer_of_ones_own_is_one_file_more(stack):
    both = ("--file", "docker-compose.yml", "--file", "examples/compose.yml")
    stack.compose(*both, "up", "--detach", "--no-deps", "wide-spread")
    try:
        eventually(lambda: (stack.queue("own.wide-spread", missing={}).get("consumers")) == 1)
        eventually(lambda: stack.queue("own.wide-spread").get("message_stats", {}).get("ack", 0) > 0)
        assert stack.queue("own.wide-spread")["policy"] == "own"
    finally:
        stack.compose(*both, "rm", "--force", "--stop", "wide-spread")


def test_an_exchange_that_dies_is_followed_again(stack):
    gaps = "SELECT reason FROM gap WHERE venue = 'binance' AND symbol = 'BTCUSDT'"
    before = len(stack.rows(gaps))
    stack.kill(stack.containers("simulator")[0])
    killed = time.time()

    eventually(lambda: stack.flows(killed + 1))
    assert len(stack.rows(gaps)) > before
    assert '"id_reset"' in stack.compose("logs", "--no-color", "crawler"), "its update ids begin anew, and that is told"


def test_only_the_crawler_has_a_way_out(stack):
    ways_out = {f"{stack.project}_exchange"}
    names = run("docker", "network", "ls", "--filter", f"name={stack.project}_", "--format", "{{.Name}}").split()
    for network in json.loads(run("docker", "network", "inspect", *names)):
        answers_come_back = network["Options"].get("com.docker.network.bridge.enable_ip_masquerade") != "false"
        assert (network["Name"] in ways_out) == (answers_come_back and not network["Internal"]), network["Name"]
    for container in stack.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        has_a_way = bool(ways_out & {*container["NetworkSettings"]["Networks"]})
        assert has_a_way == service.startswith(("crawler", "simulator")), service


def test_every_query_of_dashboards_and_alerts_finds_something(stack):
    empty_is_right = dashboards.rightly_empty()

    def failing():
        return {
            (dashboard, panel): query
            for dashboard, panel, source, query in dashboards.queries()
            if not answer(stack, source, query) and (dashboard, panel) not in empty_is_right
        }

    eventually(lambda: not failing(), seconds=100, pause=5, why=lambda: f"nothing comes of {failing()}")


def answer(stack, source, query):
    return stack.influxdb(query) if source == "influxdb" else stack.prometheus(query)


def test_no_secret_is_in_a_log_or_in_what_the_engine_shows(stack):
    secrets = stack.secrets()
    stack.remember()

    assert len(secrets) == 15
    assert sum(map(len, stack.seen)) > 10_000
    assert not [secret for secret in secrets if any(secret in text for text in stack.seen)]
