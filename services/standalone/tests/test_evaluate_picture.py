"""The picture: a file that any reader opens, and what it shows lies where the figures say."""

import zlib
from dataclasses import replace

import pytest
from test_evaluate_words import GOOD, SHORT, report

from standalone.evaluate.bootstrap import Interval
from standalone.evaluate.glyphs import points
from standalone.evaluate.picture import PALETTE, Colour, Picture
from standalone.evaluate.plot import AXIS, LEFT, RIGHT, ROW, Scale, plot


def opened(png):
    """Return the colours of a PNG, red, green and blue of each pixel in rows, as the standard tells it."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = {}, png[8:]
    while rest:
        size = int.from_bytes(rest[:4], "big")
        kind, data, check = rest[4:8], rest[8 : 8 + size], rest[8 + size : 12 + size]
        assert int.from_bytes(check, "big") == zlib.crc32(kind + data)
        chunks[kind.decode()] = data
        rest = rest[12 + size :]
    assert list(chunks) == ["IHDR", "PLTE", "IDAT", "IEND"]
    width, height = (int.from_bytes(chunks["IHDR"][at : at + 4], "big") for at in (0, 4))
    assert chunks["IHDR"][8:] == bytes([8, 3, 0, 0, 0])
    lines = zlib.decompress(chunks["IDAT"])
    assert len(lines) == height * (width + 1)
    rows = [lines[at : at + width + 1] for at in range(0, len(lines), width + 1)]
    assert {row[0] for row in rows} == {0}
    return [[tuple(chunks["PLTE"][3 * place : 3 * place + 3]) for place in row[1:]] for row in rows]


def test_a_picture_is_a_png_of_its_colours():
    picture = Picture(5, 3)
    picture.fill(1, 1, 2, 9, Colour.RED)
    picture.fill(-3, -3, 4, 4, Colour.BLACK)
    picture.fill(9, 0, 2, 2, Colour.GREEN)

    white, black, red = ((255, 255, 255), (34, 34, 34), tuple(PALETTE[15:18]))
    assert opened(picture.png()) == [
        [black, white, white, white, white],
        [white, red, red, white, white],
        [white, red, red, white, white],
    ]


def test_letters_are_where_they_are_written():
    drawn = ["".join("#" if (x, y) in points("E") else "." for x in range(5)) for y in range(7)]

    assert drawn == ["#####", "#....", "#....", "####.", "#....", "#....", "#####"]
    assert points("\n") == points("ä") == points("?") != points("E")
    assert points(" ") == []
    picture = Picture(40, 20)
    picture.write(2, 3, " E", Colour.RED)
    assert picture.colour(2 + 12, 3) == picture.colour(2 + 12 + 9, 3 + 13) == Colour.RED
    assert picture.colour(2 + 12 + 10, 3) == picture.colour(2, 3) == Colour.WHITE


@pytest.mark.parametrize(
    ("low", "high", "ticks", "decimals"),
    [
        (0.93, 1.01, [0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0, 1.01], 2),
        (0.996, 1.002, [0.996, 0.997, 0.998, 0.999, 1.0, 1.001, 1.002], 3),
        (1.0, 1.0, [1.0, 1.001], 3),
        (0.5, 0.8, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 2),
        (0.9, 9.0, [0.0, 8.1, 16.2], 2),
    ],
)
def test_the_axis_holds_all_intervals_and_the_line_at_1(low, high, ticks, decimals):
    scale = Scale([replace(GOOD, squared=Interval((low + high) / 2, low, high))])

    assert [round(tick, 3) for tick in scale.ticks] == pytest.approx(ticks, abs=0.011)
    assert scale.decimals == decimals
    assert scale.pixel(scale.ticks[0]) == LEFT
    assert scale.pixel(scale.ticks[-1]) == LEFT + AXIS
    assert LEFT <= scale.pixel(low) <= scale.pixel(1.0) <= RIGHT or scale.pixel(high) <= RIGHT


@pytest.mark.parametrize(
    ("squared", "colour"),
    [
        (Interval(0.94, 0.91, 0.97), Colour.GREEN),
        (Interval(1.05, 1.02, 1.09), Colour.RED),
        (Interval(1.0, 0.98, 1.02), Colour.GREY),
    ],
)
def test_an_interval_is_drawn_in_the_colour_of_its_verdict_from_end_to_end(squared, colour):
    score = replace(GOOD, squared=squared)
    picture = plot([report(replace(GOOD, estimator="mid"), score, SHORT)])
    scale, middle = Scale([score]), 16 + 2 * ROW + 7

    low, high = scale.pixel(squared.low), scale.pixel(squared.high)
    one = scale.pixel(1.0)
    assert {picture.colour(x, middle) for x in range(low, high + 1)} == {colour}
    assert {picture.colour(x, middle) for x in (*range(LEFT, low), *range(high + 1, RIGHT))} <= {
        Colour.WHITE, Colour.PALE, Colour.BLACK,
    }  # fmt: skip
    assert picture.colour(one, middle - 8) == Colour.BLACK
    assert picture.colour(scale.pixel(squared.value), middle - 4) == colour
    assert len(opened(picture.png())) == picture.height == 32 + 5 * ROW


def test_each_symbol_has_its_part_and_one_of_which_nothing_can_be_said_has_none():
    one, two = plot([report(GOOD), report(SHORT)]), plot([report(GOOD), report(GOOD, has_tickers=False)])

    assert one.height == plot([report(GOOD)]).height
    assert two.height == one.height + 5 * ROW
