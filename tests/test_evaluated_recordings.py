"""`standalone evaluate` on the real recordings, beside a second way to the same figures that shares no code with it.

Frames, books, curves, instants and errors are worked out here from the documents alone, in the plainest way.
"""

import asyncio
import gzip
import json
from bisect import bisect_right
from fractions import Fraction
from heapq import nlargest, nsmallest
from itertools import accumulate
from math import exp
from pathlib import Path

import pytest

from standalone.evaluate import fit
from standalone.evaluate.command import evaluate, parse
from tests.recordings import Recording, parameters

ROOT = Path(__file__).parents[1]
CLOSE = 0.005
Level = tuple[float, float]
Side = list[Level]
LEVELS = 20


class Plain:
    """What a plain reader finds: times in milliseconds of receive time."""

    def __init__(self, recording: Recording) -> None:
        self.tickers: list[tuple[float, float, int, Level, Level]] = []
        """Time, mid, id, best bid and ask."""
        self.books: list[tuple[float, float, float | None, float]] = []
        """Time, mid, curve mid, weighted mid."""
        self.ladders: list[tuple[int, Side, Side]] = []
        """Of each book its id and the levels."""
        lines = gzip.decompress(recording.path.read_bytes()).splitlines()
        bodies = [(int(line[:19]) / 1e6, json.loads(line[20:])) for line in lines]
        snapshot = next(body for _, body in bodies if "lastUpdateId" in body)
        self._sides = [{float(price): float(size) for price, size in snapshot[side]} for side in ("bids", "asks")]
        self._floor, self._ceiling = min(self._sides[0]), max(self._sides[1])
        for time, body in bodies:
            event = body.get("data", {})
            if body.get("stream", "").endswith("@bookTicker"):
                bid, ask = ((float(event[price]), float(event[size])) for price, size in ("bB", "aA"))
                self.tickers.append((time, (bid[0] + ask[0]) / 2, event["u"], bid, ask))
            elif event.get("e") == "depthUpdate" and event["u"] > snapshot["lastUpdateId"]:
                self._apply(event)
                bids = [(price, self._sides[0][price]) for price in nlargest(LEVELS, self._sides[0])]
                asks = [(price, self._sides[1][price]) for price in nsmallest(LEVELS, self._sides[1])]
                self.ladders.append((event["u"], bids, asks))
                self.books.append((time, *self.prices(bids, asks)))

    def _apply(self, event: dict) -> None:
        for side, changes in zip(self._sides, (event["b"], event["a"]), strict=True):
            for price, size in changes:
                side[float(price)] = float(size)
                if not float(size):
                    del side[float(price)]

    def live(self, ticker: int, book: int) -> tuple[float, float | None, float]:
        """Return the prices of a book with the top of a ticker, if that is newer."""
        update_id, bids, asks = self.ladders[book]
        _, _, newer, bid, ask = self.tickers[ticker]
        if newer > update_id:
            bids = [bid, *(level for level in bids if level[0] < bid[0])]
            asks = [ask, *(level for level in asks if level[0] > ask[0])]
        return self.prices(bids[:LEVELS], asks[:LEVELS])

    def prices(self, bids: Side, asks: Side) -> tuple[float, float | None, float]:
        """Return mid, curve mid and weighted mid of levels."""
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        weighted = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
        known = (  # the ticker tells the best prices wherever the snapshot ends
            bids[:1] + [level for level in bids[1:] if level[0] >= self._floor],
            asks[:1] + [level for level in asks[1:] if level[0] <= self._ceiling],
        )
        return (bid + ask) / 2, curve(*known), weighted


def curve(bids: Side, asks: Side, most: float = 1e-4) -> float | None:
    """Return the curve mid: pieces of both sides one after the other, as the documents tell it.

    None where it goes on to where no more levels are known.
    """
    ends = [list(accumulate(size for _, size in side)) for side in (bids, asks)]
    pieces, begin = [], 0.0
    for end in sorted({*ends[0], *ends[1]}):
        if end > min(ends[0][-1], ends[1][-1]):
            if min((till[-1], len(till)) for till in ends)[1] < LEVELS:
                return None
            break
        bid, ask = (side[next(n for n, each in enumerate(till) if each >= end)][0]
                    for side, till in zip((bids, asks), ends, strict=True))  # fmt: skip
        middle = (bid + ask) / 2
        if ask / middle - 1 > most:
            break
        pieces.append((begin, end, middle))
        begin = end
    if not pieces:
        return (bids[0][0] + asks[0][0]) / 2
    rate = 1 / (0.3 * begin)
    weights = [exp(-rate * start) - exp(-rate * end) for start, end, _ in pieces]
    return sum(weight * middle for weight, (_, _, middle) in zip(weights, pieces, strict=True)) / sum(weights)


def ratios(plain: Plain, column: int, horizon: int) -> dict[str, float]:
    """Return the ratios of squared and absolute errors of a column of the books at a horizon in milliseconds."""
    ticker_times, book_times = ([time for time, *_ in each] for each in (plain.tickers, plain.books))
    sums = dict.fromkeys(
        ("still", "lean", "price", "own_still", "own", "abs_still", "abs_lean", "live", "live_still"), Fraction()
    )
    first = max(ticker_times[0], book_times[0])
    last = min(ticker_times[-1], book_times[-1])
    for now in range(int(first // 100 + 1) * 100, int(last), 100):
        if now + horizon > last:
            break
        place, ticker = bisect_right(book_times, now) - 1, bisect_right(ticker_times, now) - 1
        book, mid = plain.books[place], plain.tickers[ticker][1]
        later = plain.tickers[bisect_right(ticker_times, now + horizon) - 1][1]
        live = plain.live(ticker, place)[column - 1]
        if live is not None:
            sums["live"] += Fraction(later - live) ** 2
            sums["live_still"] += Fraction(later - mid) ** 2
        if book[column] is None:
            continue
        later_book = plain.books[bisect_right(book_times, now + horizon) - 1]
        lean = book[column] - book[1]
        for name, error in {
            "still": later - mid, "lean": later - mid - lean, "price": later - book[column],
            "own_still": later_book[1] - book[1], "own": later_book[1] - book[column],
        }.items():  # fmt: skip
            sums[name] += Fraction(error) ** 2
        sums["abs_still"] += Fraction(abs(later - mid))
        sums["abs_lean"] += Fraction(abs(later - mid - lean))
    return {
        "squared": float(sums["lean"] / sums["still"]),
        "as_it_is": float(sums["price"] / sums["still"]),
        "live": float(sums["live"] / sums["live_still"]),
        "own_mid": float(sums["own"] / sums["own_still"]),
        "absolute": float(sums["abs_lean"] / sums["abs_still"]),
    }


def documented(market: str) -> tuple[dict[tuple[str, float], list[str]], str]:
    """Return the rows of a market's table in the document, by estimator and horizon, and the line of its bands."""
    name = {"spot": "Spot", "usdm": "Futures"}[market]
    text = (ROOT / "docs/fair-price.md").read_text().partition("## What came out")[2]
    table = text.split("| horizon |")[1 if market == "spot" else 2]
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table.split("\n\n")[0].splitlines()[2:]]
    return {(row[1], float(row[0].removesuffix(" s"))): row[2:] for row in rows}, text.partition(f"- {name}: ")[2]


@pytest.fixture(
    scope="module",
    params=[each for each in parameters("spot", "usdm") if each.values[0].is_real and each.values[0].is_whole],
)
def both(request):
    """Return a real recording, what was evaluated of it, and what a plain reader finds."""
    told: list[str] = []
    arguments = ["--capture", str(request.param.path), "--json"]
    code = asyncio.run(evaluate(parse(arguments), {}, asyncio.Event(), told.append))
    (symbol,) = json.loads(told[0])["symbols"]
    assert (code, symbol["breaks"], symbol["books"]) == (0, 0, request.param.books)
    found = {(each["estimator"], each["horizon_s"]): each for each in symbol["estimators"]}
    return request.param, found, Plain(request.param), [band["sentence"] for band in symbol["bands"]]


@pytest.mark.parametrize("horizon", [0.5, 1.0, 5.0])
@pytest.mark.parametrize(("estimator", "column"), [("mid", 1), ("curve_mid", 2), ("weighted_mid", 3)])
def test_a_second_computation_comes_to_the_same(both, estimator, column, horizon):
    _, found, plain, _ = both
    ratio = ratios(plain, column, round(1000 * horizon))

    for name, expected in ratio.items():
        assert abs(found[estimator, horizon][name]["value"] - expected) < CLOSE, name


@pytest.mark.parametrize("horizon", [0.5, 1.0])
def test_on_the_real_recordings_the_curve_mid_beats_the_mid_and_controls_do_not(both, horizon):
    recording, found, _, _ = both
    curve_mid = found["curve_mid", horizon]

    assert 0.96 <= curve_mid["squared"]["value"] <= 0.98
    assert curve_mid["squared"]["high"] < 1
    assert curve_mid["verdict"] == "beats"
    assert found["mid", horizon]["as_it_is"]["low"] > 1, f"the book's mid of {recording} is old"
    assert all(curve_mid["controls"][name]["value"] > 1 for name in ("shuffled", "halves_swapped"))


@pytest.fixture(scope="module")
def micro(both, tmp_path_factory):
    """Return what comes out of a micro-price that was fitted to the first half of the recording."""
    recording, *_ = both
    file, told = tmp_path_factory.mktemp("micro") / "model.json", []
    fitting = fit.parse(["--capture", str(recording.path), "--seconds", "172", "--output", str(file)])
    assert asyncio.run(fit.fit(fitting, {}, asyncio.Event(), told.append)) == 0
    options = parse(["--capture", str(recording.path), "--micro-price", str(file), "--json"])
    assert asyncio.run(evaluate(options, {}, asyncio.Event(), told.append)) == 0
    (symbol,) = json.loads(told[-1])["symbols"]
    return [each for each in symbol["estimators"] if each["estimator"].startswith("micro")]


def test_the_document_says_what_the_micro_price_is_worth(both, micro):
    recording, *_ = both
    name = {"spot": "spot", "usdm": "futures"}[recording.market]
    lines = (ROOT / "docs/fair-price.md").read_text().splitlines()
    expected = [
        f"| {name} | {each['horizon_s']:g} s | `{each['estimator']}` | {shown(each['squared'])} "
        f"| {each['squared']['low']:.3f} to {each['squared']['high']:.3f} | {shown(each['mincer_zarnowitz'], 2)} "
        f"| {each['verdict'].replace('_', ' ')} |"
        for each in micro
    ]

    assert [line for line in lines if line.startswith(f"| {name} |")] == expected


def shown(interval: dict[str, float] | None, decimals: int = 3) -> str:
    return f"{interval['value']:.{decimals}f}" if interval else ""


def test_the_document_says_what_comes_out(both):
    recording, found, _, bands = both
    rows, text = documented(recording.market)

    assert rows.keys() == found.keys()
    for key, (squared, interval, absolute, dm, slope, as_it_is, own_mid, live, verdict) in rows.items():
        one = found[key]
        ends = [f"{one['squared'][end]:.3f}" for end in ("low", "high")]
        assert squared == shown(one["squared"]), key
        assert interval == (" to ".join(ends) if one["verdict"] else ""), key
        assert absolute == shown(one["absolute"]), key
        assert dm == ("" if one["diebold_mariano"] is None else f"{one['diebold_mariano']:.1f}"), key
        assert slope == shown(one["mincer_zarnowitz"], 2), key
        others = tuple(shown(one[name]) for name in ("as_it_is", "own_mid", "live"))
        assert (as_it_is, own_mid, live) == others, key
        assert verdict == (one["verdict"] or "").replace("_", " "), key
    assert text.startswith("; ".join(bands) + ".")
