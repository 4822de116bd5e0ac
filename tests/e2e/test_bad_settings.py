"""Wrong addresses, secrets, rights, queues and buckets: seen from outside, told once, healed without a restart.

All causes are there at once, each in a virtual host and an organization of its own, so that their waits pass together.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from forwarder import forwarding
from ledger import Ledger, publish
from pipeline import SYMBOLS, Pipeline
from ports import free_port
from raw_events import book, price
from waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

EVENTS = 30


def bring(pipeline):
    """Publish books and, beside them, prices."""
    numbers = range(1, EVENTS + 1)
    asyncio.run(publish(pipeline.host, "books", *map(book, numbers)))
    asyncio.run(publish(pipeline.host, "prices", *map(price, numbers)))


# Each cause starts a service that suffers from it, and goes on when the cause is to be removed.


def a_broker_that_is_not_there(pipeline, stack, name):
    bring(pipeline)
    port = free_port()
    yield pipeline.start(name, FAIRPRICE_BROKER_URL=pipeline.host.url_at(f"127.0.0.1:{port}"))
    stack.enter_context(forwarding(port, pipeline.host.broker.host))


def a_wrong_password(pipeline, _stack, name):
    bring(pipeline)
    right = pipeline.host.users[name][1].read_text()
    file = pipeline.folder / "password"
    file.write_text("wrong\n")
    yield pipeline.start(name, FAIRPRICE_BROKER_PASSWORD_FILE=str(file))
    file.write_text(right)


def no_right_to_read(pipeline, _stack, name):
    bring(pipeline)
    pipeline.host.permit(name, read="^$")
    yield pipeline.start(name)
    pipeline.host.permit(name)


def no_right_to_write(pipeline, _stack, name):
    if name == "crawler":
        pipeline.open_exchange("--symbols", SYMBOLS)
    else:
        bring(pipeline)
    pipeline.host.permit(name, write="^$")
    yield pipeline.start(name)
    pipeline.host.permit(name)


def a_missing_queue(pipeline, _stack, name):
    pipeline.host.call("DELETE", "queues", "books.storer")
    yield pipeline.start(name)
    pipeline.host.restore()
    bring(pipeline)  # what a queue held is gone with it


def a_database_that_is_not_there(pipeline, stack, name):
    bring(pipeline)
    port = free_port()
    url = pipeline.org.store_url.replace(urlsplit(pipeline.org.server.url).netloc, f"127.0.0.1:{port}")
    yield pipeline.start(name, FAIRPRICE_STORE_URL=url)
    stack.enter_context(forwarding(port, urlsplit(pipeline.org.server.url).netloc))


def a_missing_bucket(pipeline, _stack, name):
    bring(pipeline)
    pipeline.org.server.call("DELETE", f"/api/v2/buckets/{pipeline.org.bucket_id()}")
    yield pipeline.start(name)
    pipeline.provision()


def another_token(pipeline, name, token):
    bring(pipeline)
    right = pipeline.token_file.read_text()
    pipeline.token_file.write_text(token)
    yield pipeline.start(name)
    pipeline.token_file.write_text(right)


def a_wrong_token(pipeline, _stack, name):
    yield from another_token(pipeline, name, "wrong\n")


def a_token_without_the_right(pipeline, _stack, name):
    yield from another_token(pipeline, name, pipeline.org.make_token("read"))


def a_revoked_token(pipeline, _stack, name):
    bring(pipeline)
    for each in pipeline.org.server.call("GET", "/api/v2/authorizations", orgID=pipeline.org.id)["authorizations"]:
        if each["description"].startswith("fairprice storer"):
            pipeline.org.server.call("DELETE", f"/api/v2/authorizations/{each['id']}")
    yield pipeline.start(name)
    pipeline.provision()


@dataclass
class Cause:
    """What is wrong, who suffers, the words that tell it, and what a metric says of it meanwhile."""

    ail: object
    service: str
    words: str
    metric: str
    least: int
    most: int

    def __str__(self):
        return f"{self.ail.__name__}-{self.service}"


MANY = 10_000
UNREACHABLE = "cannot connect to the broker at 127.0.0.1:"
CAUSES = [
    Cause(a_broker_that_is_not_there, "converter", UNREACHABLE, "broker_connected", 0, 0),
    Cause(a_wrong_password, "storer", "refuses the password of user", "broker_connected", 0, 0),
    Cause(no_right_to_read, "converter", "refused for user 'converter'", "broker_subscriptions", 0, 0),
    Cause(no_right_to_write, "converter", "refused for user 'converter'", "broker_publishes_total", 3, MANY),
    Cause(no_right_to_write, "crawler", "refused for user 'crawler'", "broker_publishes_total", 3, MANY),
    Cause(a_missing_queue, "storer", "queue books.storer is missing", "broker_missing_objects", 1, 1),
    Cause(a_database_that_is_not_there, "storer", "cannot be reached", "storer_failures_total", 4, MANY),
    Cause(a_missing_bucket, "storer", "make the organization and the bucket", "storer_failures_total", 4, MANY),
    Cause(a_wrong_token, "storer", "put a valid token into FAIRPRICE_STORE_TOKEN", "storer_failures_total", 4, MANY),
    Cause(a_revoked_token, "storer", "put a valid token into FAIRPRICE_STORE_TOKEN", "storer_failures_total", 4, MANY),
    Cause(a_token_without_the_right, "storer", "the right to write", "storer_failures_total", 4, MANY),
]


class Patient:
    """A service that suffers, and how it looked after several tries."""

    def __init__(self, cause, pipeline, stack):
        self.cause = cause
        self.pipeline = pipeline
        self._ailing = cause.ail(pipeline, stack, cause.service)
        self.service = next(self._ailing)

    def suffers(self):
        """Whether it has tried several times, and says what it suffers from."""
        problems = "; ".join((self.service.problems() or {}).values())
        return self.cause.words in problems and self.service.metric(self.cause.metric) >= self.cause.least

    def examine(self):
        self.status, _ = self.service.get("/readyz")
        self.problems = self.service.problems()
        self.metric = self.service.metric(self.cause.metric)
        self.told = self.service.log_lines("warning", "error")

    def heal(self):
        assert next(self._ailing, None) is None


@pytest.fixture(scope="module")
def patients(private_broker, private_database, tmp_path_factory):
    with ExitStack() as stack:
        patients = []
        for cause in CAUSES:
            pipeline = Pipeline(private_broker, private_database, tmp_path_factory.mktemp("patient") / "pipeline")
            stack.callback(pipeline.close)
            patients.append(Patient(cause, pipeline, stack))
        for patient in patients:
            eventually(patient.suffers, why=f"{patient.cause} shows too little")
        for patient in patients:
            patient.examine()
        for patient in patients:
            patient.heal()
        yield {str(patient.cause): patient for patient in patients}


@pytest.fixture(params=CAUSES, ids=str)
def patient(request, patients):
    return patients[str(request.param)]


def test_what_is_wrong_is_told_in_words_a_metric_and_one_log_line(patient):
    cause = patient.cause
    assert patient.status == 503
    assert cause.words in "; ".join(patient.problems.values())
    assert cause.least <= patient.metric <= cause.most
    lines = [line for line in patient.told if line["level"] == "error"] or patient.told
    assert all(cause.words in str(line) for line in lines)
    distinct = {(line["event"], line.get("error"), line.get("queue")) for line in patient.told}
    assert len(distinct) == len(patient.told), "told again and again"
    assert len(lines) == len({line.get("queue") for line in lines}), "told once for each queue that suffers"


def test_it_heals_by_itself_and_nothing_is_lost(patient):
    patient.service.until_ready()
    if patient.cause.service == "crawler":
        eventually(lambda: patient.service.metric("crawler_books_total") > EVENTS)
    patient.pipeline.finish()
    if patient.cause.service == "storer":
        assert patient.pipeline.stored() == EVENTS
        assert len(patient.pipeline.rows("order_book")) == EVENTS
    ledger = asyncio.run(Ledger.read(patient.pipeline.host))
    ledger.assert_no_hole()
    assert ledger.gaps == {}
    if patient.cause.service == "converter":
        assert {time for symbol, time in ledger.prices if symbol == "SOLUSDT"} == {time for _, time in ledger.books}
    if patient.cause.service == "crawler":
        assert len(ledger.books) > EVENTS
