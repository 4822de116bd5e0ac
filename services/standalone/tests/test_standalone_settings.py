"""What the embedded mode sets differently from the services alone."""

from tables import each_row

from standalone.settings import QUOTE_INTERVAL, Options, load


@each_row(
    ("arguments", "environ", "interval"),
    [
        ((), {}, QUOTE_INTERVAL),
        (("--live",), {}, QUOTE_INTERVAL),
        (("--capture", "x"), {}, QUOTE_INTERVAL),
        (("--capture", "x", "--speed", "0.5"), {}, QUOTE_INTERVAL),
        (("--capture", "x", "--speed", "2"), {}, 0.0),
        (("--capture", "x", "--speed", "max"), {}, 0.0),
        ((), {"FAIRPRICE_QUOTE_INTERVAL": "0s"}, 0.0),
        (("--capture", "x", "--speed", "max"), {"FAIRPRICE_QUOTE_INTERVAL": "1s"}, 1.0),
    ],
)
def test_quotes_are_made_where_somebody_can_look_on(arguments, environ, interval):
    assert load(environ, Options.parse(arguments), None).crawler.quote_interval == interval
