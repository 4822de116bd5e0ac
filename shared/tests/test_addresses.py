"""Addresses of a broker as people write them, and the turns of its nodes."""

import pytest
from tables import each_row

from fairprice.broker.addresses import Turns, parse, split


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("amqp://one", ["one"]),
        ("amqp://one:5672,amqps://two:5671/vhost?heartbeat=5", ["one", "two"]),
        (" amqp://one ,\n amqp://two ", ["one", "two"]),
        ("amqp://me:a,b@one,amqp://me:a,b@two", ["one", "two"]),
    ],
)
def test_whole_addresses_are_separated_by_commas(text, hosts):
    assert [address.host for address in parse(text)] == hosts
    assert parse(",".join(split(text))) == parse(text)


@each_row(
    ("text", "words"),
    [
        ("", "write an address like amqp://localhost:5672, not ''"),
        ("http://me:s3cret@one", "write an address like amqp://localhost:5672, not 'one'"),
        ("amqp://one:port", "write an address like amqp://localhost:5672, not 'amqp://one:port'"),
        ("amqp://one,http://two", "address 2 of 2: write an address like amqp://localhost:5672, not 'http://two'"),
        ("amqp://,amqp://two", "address 1 of 2: write an address like amqp://localhost:5672, not 'amqp://'"),
        ("amqp://me:s3cret@one,two", "write each one whole, like amqp://one:5672,amqp://two:5672, not 'one,two'"),
        ("amqp://one:1,two:2", "write each one whole, like .*, not 'amqp://one:1,two:2'"),
        ("amqp://one,", "write each one whole, like .*, not 'amqp://one,'"),
    ],
)
def test_a_bad_one_is_named_with_what_to_write_instead_and_no_password(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert "s3cret" not in str(caught.value)


def test_nodes_have_their_turns_one_after_the_other_and_again():
    turns = Turns(lambda: "amqp://one,amqp://two")
    seen = []
    for _ in range(4):
        seen += [turns.address().host, turns.address().host]
        turns.next()
    assert seen == ["one", "one", "two", "two"] * 2


def test_how_many_nodes_there_are_is_known_while_their_passwords_are_being_changed():
    written = ["amqp://one,amqp://two"]
    turns = Turns(lambda: written[-1])
    written.append("")
    assert turns.are_several
