"""What the documents say is what the code does."""

import re
from functools import cache
from itertools import product
from pathlib import Path

from tables import each_row

from converter.settings import ConverterSettings
from crawler.settings import CrawlerSettings
from fairprice.broker.client import BrokerSettings
from fairprice.errors import SettingsError
from fairprice.runtime.metrics import METRICS
from fairprice.runtime.settings import PREFIX, VARIABLES, remarks
from gateway.settings import GatewaySettings
from storer.settings import StorerSettings

ROOT = Path(__file__).parent.parent
MARKDOWN = [path for folder in (".", "benchmarks", "deploy", "docs", "tests") for path in ROOT.glob(f"{folder}/*.md")]
MARKDOWN += [path for folder in ("deploy", "tests") for path in ROOT.glob(f"{folder}/*/*.md")]
SETTINGS = (BrokerSettings, CrawlerSettings, ConverterSettings, StorerSettings, GatewaySettings)
FIELDS = {PREFIX + name.upper(): (model, name) for model in SETTINGS for name in model.model_fields}


def documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(
        r"^\| `(FAIRPRICE_\w+)` \| (?:`([^`]+)` )?\| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    return {name: (default, meaning) for name, default, meaning in rows}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_setting_is_known_documented_and_exemplified():
    assert set(VARIABLES) == set(FIELDS) == set(documented()) == set(example())


def test_the_documented_defaults_and_meanings_are_those_of_the_code():
    exemplified = example()
    for variable, (default, meaning) in documented().items():
        model, field = FIELDS[variable]

        assert getattr(model.load({variable: default}), field) == getattr(model.load({}), field), variable
        assert meaning == model.model_fields[field].description, variable
        assert exemplified[variable] == default


WRONG = (
    "1e30", "1e-30", "1e999999", "-1", "NaN", "inf", "9" * 5000, "\u0663", " ", ",", "\x00", "\ud800", "a\nb", "*", "~",
    "..", "http://", "http://[::1", "http://h:99999", "http://" + "a" * 70 + ".com", "amqp://:x", "sqlite:///",
    "sqlite:///a\x00b", "influxdb://h:x?org=a&bucket=b", "9" * 400 + "s", "1/0",
)  # fmt: skip
"""What somebody may write anywhere; nothing of it may end in a traceback."""


def test_whatever_is_written_is_taken_or_refused_in_a_sentence_that_names_the_variable():
    for variable, value in product(VARIABLES, WRONG):
        for model in SETTINGS:
            assert refusal(model, {variable: value}).startswith(f"{variable}: "), value
        remarks({variable: value})


def refusal(model, environ):
    try:
        model.load(environ)
    except SettingsError as error:
        return str(error)
    return f"{', '.join(environ)}: taken"


@cache
def headings(document: Path) -> set[str]:
    """Return what links call the headings of a document by, as GitHub makes it."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def leads_somewhere(document: Path, target: str) -> bool:
    file, _, heading = target.partition("#")
    there = document.parent / file if file else document
    return there.exists() and (not heading or heading in headings(there))


def test_links_lead_somewhere():
    links = [
        (document, target)
        for document in MARKDOWN
        for target in re.findall(r"\]\(([^)]+)\)", document.read_text())
        if not re.match(r"https?:", target)
    ]

    assert links
    assert [(document.name, target) for document, target in links if not leads_somewhere(document, target)] == []


@cache
def sources() -> dict[str, str]:
    """Return the text of each module of the product by its path."""
    paths = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("shared/src/**/*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


@cache
def code() -> str:
    """Return all of them, with texts that go over several lines in one piece."""
    return re.sub(r'"\s*"', "", "".join(sources().values()))


def troubles():
    """Return the rows of the table of troubles, each as its cells."""
    text = (ROOT / "docs/operations.md").read_text().partition("## Which line, which metric, which panel")[2]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("| ")][
        1:
    ]


@each_row("row", troubles(), ids=lambda row: row[0])
def test_lines_metrics_panels_and_alerts_that_help_in_trouble_exist(row):
    _, lines, metrics, panels, _ = row
    boards = "".join(path.read_text() for path in ROOT.glob("grafana/dashboards/*.json"))
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/rules/fairprice.yml").read_text())

    assert [line for line in re.findall("`([^`]+)`", lines) if f'"{line}"' not in code()] == []
    assert set(re.findall("`([^`]+)`", metrics)) <= {metric.name for metric in METRICS}
    assert [panel for panel in re.findall('"([^"]+)"', panels) if f'"title": "{panel}"' not in boards] == []
    assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", re.sub('"[^"]*"', "", panels))) <= set(alerts)


def test_no_table_is_cut_in_two():
    """A row behind an empty line is shown as it is written, unless a new table begins there with its head."""
    cut = re.compile(r"\n\n(\|.*)\n(?!\| ?[-:])")

    assert {path.name: cut.findall(path.read_text()) for path in MARKDOWN if cut.search(path.read_text())} == {}


def test_the_walk_through_the_samples_says_how_many_fit():
    told = re.search(r'{"fitting":(\d+)', (ROOT / "docs/messages.md").read_text())
    lines = [line for path in ROOT.glob("shared/tests/samples/*.ndjson") for line in path.read_bytes().splitlines()]

    assert told is not None
    assert int(told[1]) == len(lines)


def test_the_glossary_is_in_order():
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)[1:]

    assert words == sorted(words)
    assert {"gap", "reach", "audit", "resync", "outbox", "tap", "hole", "held book", "behind", "feed", "venue"} <= set(
        words
    )


def test_every_target_of_the_makefile_that_is_documented_exists():
    documented_targets = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert documented_targets <= targets


def test_every_metric_of_the_table_is_counted_somewhere():
    text = "".join(text for path, text in sources().items() if not path.endswith("/metrics.py"))

    assert [metric.name for metric in METRICS if f'yield "{metric.name}", ' not in text] == []
