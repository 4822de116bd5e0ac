"""When a node that owes an answer is given up, without a node."""

import pytest

from fairprice.broker.majority import Request

PATIENCE = 30


@pytest.mark.parametrize(("waited", "debtor"), [(30, "one"), (10, "one"), (9, None), (0, None)])
def test_a_node_that_has_owed_an_answer_for_a_third_of_the_patience_is_given_up(waited, debtor):
    request = Request("one", 100.0)
    assert request.debtor(100.0 + waited, PATIENCE) == debtor


def test_a_node_that_has_answered_owes_nothing_even_if_it_refused():
    request = Request("one", 100.0)
    request.answer()
    assert request.debtor(200.0, PATIENCE) is None


def test_a_node_that_was_never_asked_owes_nothing():
    assert Request().debtor(200.0, PATIENCE) is None


def test_another_node_owes_from_when_it_was_asked_on():
    request = Request("one", 100.0)
    request.ask("two", 125.0)
    assert request.debtor(130.0, PATIENCE) is None
    assert request.debtor(135.0, PATIENCE) == "two"
