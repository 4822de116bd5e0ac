"""Lines that nobody can use, from any program, among good ones: dead letters with reason and origin, nothing else."""

import asyncio
from collections import Counter

import aiormq
import pytest
from ledger import POISON, messages_of, publish
from raw_events import book, price
from waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

MIB = 1024 * 1024
QUEUES = {"books": ["books.converter", "books.storer"], "prices": ["prices.storer"]}


def poison(make, missing):
    """Return bad lines with the words that have to say why."""
    bad = {
        "no JSON": (b'{"type":"book","symbol":"POISON",', "not JSON"),
        "no text": (b"\xff\xfe\x00\x01", "not JSON"),
        "no object": (b'["book"]', "not a JSON object"),
        "NaN": (make(1, POISON, event_time=float("nan")), "not JSON"),
        "infinity": (make(1, POISON, received_time=float("inf")), "not JSON"),
        "a wrong type": (make(1, POISON, update_id="1"), "'update_id'"),
        "a negative id": (make(1, POISON, update_id=-1), "'update_id'"),
        "a missing field": (make(1, POISON).replace(missing, b'"x"'), missing.decode().strip('"')),
        "almost too long": (b'{"symbol":"POISON","' + b"x" * (MIB - 3000), "not JSON"),
    }
    return bad.values()


FUTURE = b'{"type":"trade","venue":"binance","symbol":"POISON","price":"1"}'
"""An event that a later version adds: it is passed over, not buried."""

BAD = {
    "books": [
        *poison(book, b'"asks"'),
        (book(1, POISON, bids=[["NaN", "1"]]), "'bids'"),
        (book(1, POISON, asks=[[1.5, 1]]), "'asks'"),
        (price(1, POISON), "no place in a queue of books"),
    ],
    "prices": [
        *poison(price, b'"estimator"'),
        (price(1, POISON, bid="2.5"), "'bid'"),
        (price(1, POISON, price=None), "'price'"),
        (book(1, POISON), "prices"),
    ],
}
"""Bad lines by exchange; no two of an exchange are equal."""


def among_good_ones(make, bad):
    """Return messages of a bad line with good ones around it, and how many good lines that are."""
    bodies, number = [], 0
    for line, _ in bad:
        neighbours = [make(number + each + 1) for each in range(2 if len(line) > MIB // 2 else 90)]
        number += len(neighbours)
        bodies.append(b"\n".join([neighbours[0], line, *neighbours[1:]]))
    bodies.append(FUTURE)
    assert MIB - 4000 < max(map(len, bodies)) <= MIB
    return bodies, number


def letters_of(messages):
    return Counter((message.header.properties.headers["origin"], message.body) for message in messages)


def test_each_bad_line_becomes_one_dead_letter_a_queue_and_its_neighbours_are_stored(pipeline):
    services = {name: pipeline.start(name) for name in ("storer", "converter", "gateway")}
    for name in ("storer", "converter"):
        services[name].until_ready()
    books, sent_books = among_good_ones(book, BAD["books"])
    prices, sent_prices = among_good_ones(price, BAD["prices"])
    asyncio.run(publish(pipeline.host, "books", *books, message_type="books.v1"))
    asyncio.run(publish(pipeline.host, "prices", *prices, message_type="prices.v1"))
    pipeline.letters = sum(len(BAD[exchange]) * len(queues) for exchange, queues in QUEUES.items())

    def counts(kind):
        return [services[name].metric(f"{name}_{kind}_lines_total") for name in ("converter", "storer")]

    bad = [len(BAD["books"]), len(BAD["books"]) + len(BAD["prices"])]
    eventually(lambda: (counts("invalid"), counts("unknown")) == (bad, [1, 2]), why=lambda: counts("invalid"))
    eventually(lambda: (services["gateway"].price("ADAUSDT") or {}).get("update_id") == sent_prices)
    pipeline.finish()
    assert pipeline.again == 0
    pipeline.assert_even("bad lines", raw_prices=sent_prices)
    assert pipeline.stored() == sent_books + sent_prices

    letters = asyncio.run(messages_of(pipeline.host, "dead-letters"))
    pipeline.letters = 0
    assert letters_of(letters) == Counter(
        (queue, line) for exchange, queues in QUEUES.items() for queue in queues for line, _ in BAD[exchange]
    )
    reasons = {line: words for exchange in QUEUES for line, words in BAD[exchange]}
    for letter in letters:
        headers = letter.header.properties.headers
        assert reasons[letter.body] in headers["reason"]
        assert headers["origin_message_id"].startswith("raw-")


def test_what_is_longer_than_any_honest_message_the_broker_refuses_and_just_under_that_all_is_stored(pipeline):
    services = [pipeline.start(name) for name in ("storer", "converter")]
    for service in services:
        service.until_ready()
    with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="message size"):
        asyncio.run(publish(pipeline.host, "books", b"x" * (MIB + 1)))
    number = MIB // (len(book(1000)) + 1)
    body = b"\n".join(book(each) for each in range(1, number + 1))
    assert MIB - 4000 < len(body) <= MIB
    asyncio.run(publish(pipeline.host, "books", body))
    pipeline.wait_for(number)
    pipeline.finish()
    assert pipeline.stored() == number
    assert len(pipeline.rows("order_book")) == number
