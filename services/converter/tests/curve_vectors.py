"""`python curve_vectors.py`: writes `curve_vectors.json`, the curve mid of books worked out apart from the code.

Everything is a fraction, piece by piece as the formula is printed; only e^x is rounded, to 80 digits.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_suffix(".json")
DIGITS = Context(prec=80)
LEVELS = 20

Rows = list[list[str]]
Levels = list[tuple[Fraction, Fraction]]
"""Price and quantity, best first."""


class Piece(NamedTuple):
    start: Fraction
    end: Fraction
    bid: Fraction
    ask: Fraction

    @property
    def mid(self) -> Fraction:
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Fraction:
        return self.ask / self.mid - 1


def curve_mid(
    bids: Rows, asks: Rows, *, bps: str = "1", floor: str | None = None, ceiling: str | None = None
) -> tuple[Fraction, Fraction] | None:
    """Return the curve mid and how far it went, of a book with two sides, None where that is not known."""
    (bid_levels, bids_end), (ask_levels, asks_end) = first(bids, floor, -1), first(asks, ceiling, 1)
    whole = list(pieces(bid_levels, ask_levels))
    used = []
    for piece in whole:
        if piece.spread > Fraction(bps) / 10_000:
            break
        used.append(piece)
    if not used:
        return (whole[0].mid, Fraction(0))
    if used == whole:
        shorter = [
            end for levels, end in ((bid_levels, bids_end), (ask_levels, asks_end)) if total(levels) == used[-1].end
        ]
        if not any(shorter):
            return None
    rate = Fraction(10, 3) / used[-1].end
    weights = [exp(-rate * piece.start) - exp(-rate * piece.end) for piece in used]
    mean = sum(piece.mid * weight for piece, weight in zip(used, weights, strict=True)) / sum(weights)
    return mean, used[-1].spread * 10_000


def first(rows: Rows, bound: str | None, sign: int) -> tuple[Levels, bool]:
    """Return the first levels that are known, and whether there are no others among the first that a book tells."""
    live = sorted(((Fraction(p), Fraction(q)) for p, q in rows if Fraction(q)), key=lambda level: sign * level[0])
    known = [level for level in live if bound is None or sign * level[0] <= sign * Fraction(bound)][:LEVELS]
    return known, bound is None or len(known) == LEVELS or live[-1][0] == Fraction(bound)


def pieces(bids: Levels, asks: Levels) -> Iterator[Piece]:
    """Yield the pieces on which the prices of both sides are constant, up to where the shorter side ends."""
    ends = {end for levels in (bids, asks) for end in accumulate(quantity for _, quantity in levels)}
    for start, end in pairwise(sorted({Fraction(0), *ends})):
        if end <= min(total(bids), total(asks)):
            yield Piece(start, end, holding(bids, (start + end) / 2), holding(asks, (start + end) / 2))


def total(levels: Levels) -> Fraction:
    return sum((quantity for _, quantity in levels), Fraction(0))


def holding(levels: Levels, quantity: Fraction) -> Fraction:
    """Return the price of the level that holds a quantity counted from the best."""
    for price, size in levels:
        quantity -= size
        if quantity < 0:
            return price
    raise AssertionError("deeper than the side")


def exp(number: Fraction) -> Fraction:
    return Fraction(DIGITS.exp(DIGITS.divide(Decimal(number.numerator), Decimal(number.denominator))))


# --- the books ---


def rows(*levels: str) -> Rows:
    return [level.split("@")[::-1] for level in levels]


def ladder(best: str, tick: str, sizes: Sequence[str]) -> Rows:
    return [[str(Decimal(best) + number * Decimal(tick)), size] for number, size in enumerate(sizes)]


UNEVEN = [f"{(number * 37 % 23 + 1) / 8:.5f}" for number in range(60)]
THIN = [f"{(number * 29 % 19 + 1) / 50:.5f}" for number in range(60)]

FORTY = ladder("100.00", "-0.01", UNEVEN[:40]), ladder("100.01", "0.01", THIN[:40])
BIDS, ASKS = ladder("61837.90", "-0.31", UNEVEN[:20]), ladder("61837.91", "0.17", THIN[:20])

BOOKS: list[tuple[str, Rows, Rows, dict[str, str]]] = [
    ("one level a side, the same size", rows("1@100.00"), rows("1@100.01"), {}),
    ("one level a side, sizes far apart: still the mid", rows("1000@100.00"), rows("0.001@100.01"), {}),
    ("no bids", [], rows("1@100.01"), {}),
    ("no asks", rows("1@100.00"), [], {}),
    ("no levels", [], [], {}),
    ("crossed", rows("1@100.02"), rows("1@100.01"), {}),
    ("locked, one level", rows("1@100.00"), rows("3@100.00"), {}),
    ("locked, thin bids", rows("1@100.000", "9@99.999"), rows("9@100.000", "9@100.001"), {}),
    ("the best prices exceed D: the mid", rows("1@100", "10@99"), rows("5@101", "10@102"), {}),
    ("the best prices are exactly D apart: inside", rows("1@9999"), rows("1@10001", "1@10002"), {}),
    ("the second piece exceeds D", rows("1@100.00", "10@99.00"), rows("3@100.01", "10@100.02"), {}),
    ("the last piece that is not beyond D is exactly at it", rows("1@10000", "2@9999"), rows("2@10001", "9@10009"), {}),
    ("equal cumulated quantities", rows("1@100.000", "2@99.999", "3@99.998"), rows("3@100.001", "3@100.002"), {}),
    ("all steps at the same quantities", rows("2@100.000", "2@99.999"), rows("2@100.001", "2@100.003"), {}),
    ("the bids end first", rows("0.5@100.000", "0.5@99.999"), rows("1@100.001", "7@100.002", "9@100.003"), {}),
    ("the asks end first", rows("5@100.000", "5@99.999"), rows("1@100.001", "2@100.002", "0.5@100.003"), {}),
    ("thin bids: the price lies below the best bid", rows("0.001@100.000", "9@99.993"), rows("9@100.001"), {}),
    ("thin asks: the price lies above the best ask", rows("9@100.000"), rows("0.001@100.001", "9@100.009"), {}),
    ("twenty uneven levels, 1 bps is not reached", BIDS, ASKS, {}),
    ("the same, a tenth of it", BIDS, ASKS, {"bps": "0.1"}),
    ("the same, a wide D", BIDS, ASKS, {"bps": "50"}),
    ("the same, D has no end", BIDS, ASKS, {"bps": "10000"}),
    ("forty levels: the first twenty count", *FORTY, {"bps": "500"}),
    ("forty levels cut at the fortieth", *FORTY, {"bps": "500", "floor": "99.61", "ceiling": "100.40"}),
    ("five levels, cut at the fifth: it goes to their end", BIDS[:5], ASKS[:5],
     {"floor": BIDS[4][0], "ceiling": ASKS[4][0]}),
    ("known to the third of five bids, which are longer", rows("3@100.000", "3@99.999", "3@99.998"), rows("1@100.001"),
     {"floor": "99.999"}),
    ("known to the third of twenty", BIDS, ASKS, {"floor": BIDS[2][0], "ceiling": ASKS[2][0]}),
    ("known between the third and the fourth of twenty asks", BIDS, ASKS, {"ceiling": "61838.26"}),
    ("five bids are all that is known", BIDS[:5], ASKS, {"floor": "61800"}),
    ("the best prices are all that is known", BIDS, ASKS, {"floor": BIDS[0][0], "ceiling": ASKS[0][0]}),
    ("the best prices are all that is known, and exceed D", rows("1@100", "10@99"), rows("5@101", "10@102"),
     {"floor": "100", "ceiling": "101"}),
    ("D is exceeded before what is not known", rows("1@100.00", "10@99.00", "10@98.00"), rows("3@100.01", "10@100.02"),
     {"floor": "99.00"}),
    ("huge sizes", rows("900000000000@0.00001000", "1@0.00000999"), rows("700000000000@0.00001001", "5@0.00001002"),
     {"bps": "20"}),
    ("tiny sizes", rows("0.00000001@61837.90", "0.00000003@61837.80"), rows("0.00000002@61837.91", "9@61837.99"), {}),
    ("tiny beside huge", rows("0.00000001@61837.90", "90000000000@61837.80"),
     rows("0.00000001@61837.91", "70000000000@61837.95"), {}),
    ("tiny prices", rows("5@0.00000012", "7@0.00000011"), rows("2@0.00000013", "9@0.00000014"), {"bps": "2000"}),
    ("forty decimals", [["1." + "0" * 39 + "1", "0." + "0" * 39 + "3"]],
     [["1." + "0" * 39 + "2", "2"], ["1.00001", "3"]], {}),
    ("any order, removed rows", rows("7@99.99", "0@100.01", "1@100.00"), rows("2@100.03", "3@100.01", "0@100.02"),
     {"bps": "3"}),
    ("forty levels, known to between two behind the twentieth", *FORTY,
     {"bps": "500", "floor": "99.705", "ceiling": "100.305"}),
]  # fmt: skip


def status(bids: Rows, asks: Rows, found: object) -> str:
    best_bid = max((Fraction(price) for price, size in bids if Fraction(size)), default=None)
    best_ask = min((Fraction(price) for price, size in asks if Fraction(size)), default=None)
    if best_bid is None:
        return "no_bids" if best_ask is not None else "empty"
    if best_ask is None:
        return "no_asks"
    if best_bid > best_ask:
        return "crossed"
    if found is None:
        return "beyond_reach"
    return "locked" if best_bid == best_ask else "ok"


def vectors() -> list[dict[str, Any]]:
    made = []
    for number, (description, bids, asks, options) in enumerate(BOOKS, 1):
        is_asked = status(bids, asks, ...) in {"ok", "locked"}
        found = curve_mid(bids, asks, **options) if is_asked else None
        price, bps = found or (None, None)
        made.append(
            {
                "id": f"C{number:02}",
                "description": description,
                **options,
                "bids": bids,
                "asks": asks,
                "status": status(bids, asks, found),
                "curve_mid": None if price is None else float(price),
                "curve_mid_digits": None if price is None else decimals(price),
                "curve_bps": None if bps is None else float(bps),
            }
        )
    return made


def decimals(number: Fraction) -> str:
    return str(Context(prec=50).divide(Decimal(number.numerator), Decimal(number.denominator)))


def text() -> str:
    return "[\n" + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text())
