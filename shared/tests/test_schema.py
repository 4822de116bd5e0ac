"""The schema for other languages: its files are the code's, and it takes exactly the lines that the code takes."""

from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator
from tables import each_row

from fairprice.errors import InvalidLine
from fairprice.messages import BOOKS_TYPE, PRICES_TYPE, decode_line
from fairprice.schema import EVENTS, documents, main, schema

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
SAMPLES = {
    path.name: path.read_bytes().splitlines() for path in sorted((ROOT / "shared/tests/samples").glob("*.ndjson"))
}
LINES = [orjson.loads(line) for lines in SAMPLES.values() for line in lines]
VALIDATORS = {name: Draft202012Validator(schema(name)) for name in EVENTS}
ABSENT = object()

STRINGS = ["", "x", "ok", "with blank", "tab\t", "币安人生USDT", "\u2003", "x" * 64, "x" * 65, "x" * 1000, "x" * 1001]
NUMBERS = [
    "1",
    "1.",
    ".5",
    "1e5",
    "-1",
    "+1",
    "0" * 40,
    "0" * 41,
    "1." + "0" * 40,
    "1." + "0" * 41,
    "1,5",
    "NaN",
    "\u0661",
]
OTHERS = [
    ABSENT,
    None,
    True,
    False,
    0,
    7,
    -1,
    2**63 - 1,
    2**63,
    1.5,
    -0.5,
    1e100,
    1.1e100,
    -1.1e100,
    [],
    {},
    [[]],
    [["1"]],
    [["1", "2", "3"]],
]
LEVELS = [[["1", "2"]], [["1", 2]], [["1", "-2"]], [["1|2"]], ["12"], [{"1": "2"}], [["1", "2"], ["1"]], [["1", None]]]
VALUES = [*STRINGS, *NUMBERS, *OTHERS, *LEVELS]


def fits(message_type: str, event: object) -> bool:
    return VALIDATORS[message_type].is_valid(event)


def spelt_out(part: object, definitions: dict[str, object]) -> object:
    """Put what is referred to where it is referred to: validators look a reference up again for each line."""
    if isinstance(part, list):
        return [spelt_out(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return spelt_out(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    return {name: spelt_out(each, definitions) for name, each in part.items()}


def is_taken(event: object) -> bool:
    try:
        decode_line(orjson.dumps(event))
    except InvalidLine:
        return False
    return True


def changed(event: dict[str, object], field: str, value: object) -> dict[str, object]:
    without = {name: each for name, each in event.items() if name != field}
    return without if value is ABSENT else without | {field: value}


def type_of(event: dict[str, object]) -> str:
    return next(name for name, events in EVENTS.items() if event["type"] in events)


def test_the_files_are_those_of_the_code():
    for name, text in documents((DOCS / "messages.md").read_text()).items():
        assert (DOCS / name).read_text() == text, "run: python -m fairprice.schema docs"


def test_the_files_are_written_and_old_tables_replaced(tmp_path):
    (tmp_path / "schema").mkdir()
    (tmp_path / "messages.md").write_text("<!-- fields of gap, made -->\n\n| old |\n| rows |\n\nEnd.\n")
    main(tmp_path)
    main(tmp_path)
    written = (tmp_path / "messages.md").read_text()
    assert "old" not in written
    assert written.count("| `reason` | name |") == 1
    assert written.endswith("\n\nEnd.\n")
    assert orjson.loads((tmp_path / "schema" / "books.v1.json").read_bytes()) == schema(BOOKS_TYPE)


@pytest.mark.parametrize("message_type", EVENTS)
def test_a_schema_is_one(message_type):
    Draft202012Validator.check_schema(schema(message_type))


@each_row("file", SAMPLES)
def test_frozen_samples_fit(file):
    message_type = PRICES_TYPE if file.startswith(PRICES_TYPE) else BOOKS_TYPE
    for line in SAMPLES[file]:
        VALIDATORS[message_type].validate(orjson.loads(line))


@pytest.mark.slow
@pytest.mark.parametrize("event", {event["type"]: event for event in LINES}.values(), ids=lambda event: event["type"])
def test_a_line_fits_exactly_when_the_code_takes_it(event):
    definitions = schema(type_of(event))["$defs"]
    definition = spelt_out(definitions[event["type"]], definitions)
    assert definition["properties"]["type"] == {"const": event["type"]}, "so that no other definition fits"
    assert "type" in definition["required"]
    validator = Draft202012Validator(definition)
    tried = 0
    for field in [
        *event,
        "unknown",
        "depth_bid_1bps",
        "depth_bid_1_5bps",
        f"depth_bid_{'1' * 21}bps",
        "impact_ask_1e5",
    ]:
        if field == "type":
            continue
        for value in VALUES:
            case = changed(event, field, value)
            assert validator.is_valid(case) == is_taken(case), (field, value)
            tried += 1
    assert tried > 300


def test_a_model_fits_exactly_when_the_code_takes_it():
    definitions = schema(BOOKS_TYPE)["$defs"]
    validator = Draft202012Validator(spelt_out(definitions["model"], definitions))
    [book] = [event for event in LINES if event.get("model")]
    model = book["model"]
    for field in [*model, "unknown"]:
        for value in VALUES:
            case = changed(model, field, value)
            assert validator.is_valid(case) == is_taken(book | {"model": case}), (field, value)


@each_row("line", [[], None, 1, "book", {}, {"type": "trade"}, {"type": None}])
def test_what_is_no_event_fits_no_schema(line):
    assert not any(fits(name, line) for name in EVENTS)


def test_an_event_does_not_fit_messages_of_another_type():
    for event in LINES:
        assert [name for name in EVENTS if fits(name, event)] == [type_of(event)]
