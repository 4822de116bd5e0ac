"""`python -m fairprice.schema docs`: what is on the wire, for readers in other languages.

Writes a JSON Schema (https://json-schema.org, 2020-12) of the lines of each type of message, and the tables of fields
in `messages.md`. Types come from the events of `fairprice.events`, meanings from here; a line fits its schema exactly
when `decode_line` takes it.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from fairprice.estimates import ESTIMATES
from fairprice.fields import MAX_NAME, MAX_REAL, MAX_TEXT
from fairprice.kinds import Kind, kinds
from fairprice.messages import (
    CONFIGURED_VALUE,
    DEPTH_VALUE,
    EVENTS,
    PRICE_VALUES,
    PRICED,
    Depth,
    Event,
    Live,
    Model,
    Price,
)

Schema = dict[str, Any]

OBJECTS: Mapping[str, type[Model]] = {"model": Model}
"""What is an object inside a line, by its kind."""

_VALUE = Kind("number", is_nullable=True, may_be_absent=True)

_BLANKS = r"[\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""What no name holds, spelt out, since languages differ in what they call a blank."""

KINDS: Mapping[str, Schema] = {
    "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "not": {"pattern": _BLANKS}},
    "integer": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "decimal": {"type": "string", "pattern": r"^[0-9]{1,40}(\.[0-9]{1,40})?$"},
    "text": {"type": "string", "maxLength": MAX_TEXT},
    "number": {"type": "number"},
    "real": {"type": "number", "minimum": -MAX_REAL, "maximum": MAX_REAL},
    "size": {"type": "number", "minimum": 0, "maximum": MAX_REAL},
    "boolean": {"type": "boolean"},
    "levels": {
        "type": "array",
        "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"$ref": "#/$defs/decimal"}},
    },
}

_BETAS = {"500ms": "half a second", "1s": "a second", "5s": "five seconds"}
_WIDTHS = {"1s": "a second", "10s": "ten seconds"}
_SPANS = _BETAS | _WIDTHS

_ANYWHERE = {
    "venue": "the market, like `binance`, `binance-usdm`",
    "symbol": "the exchange's name of the pair, like `BTCUSDT`; unique within its venue only",
    "first_update_id": "with `update_id`: the exchange's ids that this book adds to the one before it",
    "update_id": "the last of these ids: the book's version",
    "event_time": "the exchange's clock; with venue and symbol the key of what is stored",
    "received_time": "the crawler's clock when the frame came",
    "crawler": "which instance saw it",
}

_PRICE: Mapping[str, str] = {
    "priced_time": "the converter's clock; null in a replay",
    "estimator": "which of the values is `price`",
    "status": f"`price` is a number exactly when it is one of {', '.join(f'`{each}`' for each in sorted(PRICED))}",
    "price": "the fair price; null: there is none, `status` says why",
    "bid": "best bid",
    "ask": "best ask",
    "bid_size": "base quantity of the best bid",
    "ask_size": "base quantity of the best ask",
    "spread": "`ask` - `bid`",
    "spread_bps": "the same in basis points of the mid",
    "imbalance": "of the two sizes: -1 only asks, 1 only bids",
    **{name: estimate.meaning for name, estimate in ESTIMATES.items()},
    "curve_bps": "half spread, in basis points, up to which `curve_mid` followed the book; 0: it is the mid",
    "band_1s_low": "in nine of ten cases the mid lies a second later between this and `band_1s_high`",
    "band_1s_high": "the upper end of that band",
    "band_10s_low": "in nine of ten cases the mid lies ten seconds later between this and `band_10s_high`",
    "band_10s_high": "the upper end of that band",
}

_OF_THE_BOOK = {
    "first_update_id": "first id of the book",
    "update_id": "last id of the book whose deeper levels these are",
    "event_time": "the exchange's clock at that book",
    "ticker_id": "the exchange's id of the best bid and ask, beyond that of the book",
    "received_time": "the crawler's clock when they came",
}

_LADDER = {
    "bids": "best first, as `[price, quantity]`: the newest best bid, behind it the levels of the book that are worse",
    "asks": "the same of the other side",
}

MEANINGS: Mapping[str, Mapping[str, str]] = {
    "book": {
        **_ANYWHERE,
        "previous_event_time": "time of the exchange's update before it, published or not; null where none is known",
        "bids": "best first, as `[price, quantity]`; complete as deep as it goes",
        "asks": "the same of the other side",
        "floor": "down to this price every bid is in `bids`; null: there are no others",
        "ceiling": "up to this price every ask is in `asks`; null: there are no others",
        "model": "what the two minutes of books before say of the seconds to come (below); "
        "null: they are not known without a gap",
    },
    "model": {
        "block": "where the ten seconds begin whose books it holds for, by the exchange's clock",
        **{f"beta_{name}": f"how far a full imbalance moves the mid within {words}" for name, words in _BETAS.items()},
        **{
            f"half_width_{name}": f"nine of ten moves within {words} are expected to be at most so large; "
            "null: too few were seen"
            for name, words in _WIDTHS.items()
        },
        **{f"observations_{name}": f"so many moves within {words} were seen" for name, words in _SPANS.items()},
    },
    "gap": {
        **_ANYWHERE,
        "from_update_id": "the first id that no book of this crawler covers",
        "to_update_id": "the last one",
        "from_time": "event time of the last book before the gap",
        "to_time": "event time of the first book after it, or of the last one that was received",
        "reason": "`missed_updates`, `disconnect`, `restart`, `not_followed`, `silence`, `unreadable_frame`, `audit`, "
        "`crossed`, `proof`, `id_reset`; later versions may add some",
    },
    "start": {
        **_ANYWHERE,
        "first_update_id": "the first id of the book behind this line",
        "update_id": "its last id",
        "event_time": "its time, by the exchange's clock",
    },
    "status": {
        **_ANYWHERE,
        "event_time": "the crawler's clock, for here the exchange says nothing",
        "exchange_status": "the exchange's own word, like `TRADING`, `BREAK`; `UNLISTED`: it does not know the symbol",
        "is_halted": "whether the symbol does not trade now",
        "problem": "what is wrong, a sentence; null: nothing",
        "model_time": "the exchange's time from which on its books bring a `model`, if no update is missed until then; "
        "null: they do, or nobody knows",
    },
    "audit": {
        **_ANYWHERE,
        "event_time": "where the minute begins, by the exchange's clock",
        "from_update_id": "the first id of the books published in that minute",
        "to_update_id": "the last one",
        "tops": "best bids and asks that were compared with the exchange's ticker",
        "wrong": "so many of them differed; their books were not published",
        "levels": "levels that were compared with a fresh snapshot of the same id",
        "levels_wrong": "so many of them differed",
    },
    "depth": {
        **_ANYWHERE,
        "update_id": "the book of which this is the depth",
    },
    "price": {**_ANYWHERE, **_PRICE},
    "quote": {
        **_ANYWHERE,
        **_OF_THE_BOOK,
        **_LADDER,
        "floor": "down to this price the book knew every bid; null: there were no others",
        "ceiling": "up to this price the book knew every ask; null: there were no others",
        "model": "that of the book",
    },
    "live": {**_ANYWHERE, **_PRICE, **_OF_THE_BOOK, **_LADDER},
}
"""What each field says, by the `type` of the line."""

CONFIGURED_MEANING = (
    "as settings say: `depth_bid_10bps` is the base quantity of bids within 10 basis points of the mid, "
    "`impact_ask_10000` the average price at which 10,000 of the quote currency buy; a decimal point is written `_`"
)

DEPTH_MEANING = (
    "as settings say: `bid_quantity_10bps` is the base quantity of all bids of the exchange within 10 basis points of "
    "the mid, `bid_value_10bps` the quote amount that they are worth; null: the book is not known as far as that; a "
    "decimal point is written `_`"
)


def schema(message_type: str) -> Schema:
    """Return the JSON Schema of one line of messages of this type."""
    events = EVENTS[message_type]
    objects = {each.name for kind in events for each in _kinds(kind).values()} & OBJECTS.keys()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"One line of a message of the type {message_type}",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in events],
        "$defs": {**KINDS, **{kind: _object_schema(kind) for kind in (*objects, *events)}},
    }


def table(kind: str) -> str:
    """Return the fields of a type of line as a table in Markdown."""
    rows = [] if kind in OBJECTS else [f"| `type` | `{kind}` | |"]
    for name, each in _kinds(kind).items():
        written = each.name + " or null" * each.is_nullable + ", may be absent" * each.may_be_absent
        rows.append(f"| `{name}` | {written} | {MEANINGS[kind][name]} |")
    if kind in {"price", "live"}:
        rows.append(f"| `depth_...`, `impact_...` | number or null, may be absent | {CONFIGURED_MEANING} |")
    if kind == "depth":
        rows.append(f"| `bid_...`, `ask_...` | number or null | {DEPTH_MEANING} |")
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def documents(messages: str) -> dict[str, str]:
    """Return what belongs into the files below `docs`, by path; `messages` is what `messages.md` holds now."""
    schemas = {
        f"schema/{message_type}.json": orjson.dumps(schema(message_type), option=orjson.OPT_INDENT_2).decode() + "\n"
        for message_type in EVENTS
    }
    return {**schemas, "messages.md": re.sub(_PLACE, lambda found: f"{found[1]}{table(found[2])}\n\n", messages)}


_PLACE = re.compile(r"(<!-- fields of (\w+),[^\n]*-->\n\n)(?:\|[^\n]*\n)*\n?")
"""The remark above a table, and the table."""


def _object_schema(kind: str) -> Schema:
    """Return the schema of a line, or of an object inside one."""
    properties: Schema = {} if kind in OBJECTS else {"type": {"const": kind}}
    required = [*properties]
    for name, each in _kinds(kind).items():
        properties[name] = _property(each) | {"description": MEANINGS[kind][name]}
        if not each.may_be_absent:
            required.append(name)
    found: Schema = {"type": "object", "properties": properties, "required": required}
    event = _class_of(kind)
    if event in {Price, Live}:
        return found | _named_by_settings(CONFIGURED_VALUE, CONFIGURED_MEANING) | _price_rules()
    return found | (_named_by_settings(DEPTH_VALUE, DEPTH_MEANING) if event is Depth else {})


def _named_by_settings(names: re.Pattern[str], meaning: str) -> Schema:
    value = {"oneOf": [{"$ref": "#/$defs/number"}, {"type": "null"}], "description": meaning}
    return {"patternProperties": {f"^({names.pattern})$": value}}


def _price_rules() -> Schema:
    """Return what a field of a price demands of others."""
    return {
        "if": {"properties": {"status": {"enum": sorted(PRICED)}}},
        "then": {"properties": {"price": {"type": "number"}}},
        "else": {"properties": {"price": {"type": "null"}}},
    }


def _property(kind: Kind) -> Schema:
    reference = {"$ref": f"#/$defs/{kind.name}"}
    return {"oneOf": [reference, {"type": "null"}]} if kind.is_nullable else reference


def _kinds(kind: str) -> dict[str, Kind]:
    """Return what each field of a line is, without its `type` and those that settings name."""
    found = kinds(_class_of(kind))
    values = found.pop("values", None)
    return found | (dict.fromkeys(PRICE_VALUES, _VALUE) if values and values.name == "price values" else {})


def _class_of(kind: str) -> type[Event | Model]:
    """Return what a line, or an object inside one, is decoded to."""
    return {**OBJECTS, **{name: event for events in EVENTS.values() for name, event in events.items()}}[kind]


def main(folder: Path) -> None:
    """Write all files below the folder of the documents."""
    for name, text in documents((folder / "messages.md").read_text()).items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
