"""Where points are kept, as one line of text: `influxdb://HOST:PORT?org=ORG&bucket=BUCKET` or `sqlite:///PATH`."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

DEFAULT_PORT = 8086

_SCHEMES = {"influxdb": "http", "influxdbs": "https"}
_SQLITE = "sqlite:///"
_FORMS = "influxdb://HOST:8086?org=ORG&bucket=BUCKET, influxdbs://... for TLS, or sqlite:///PATH"


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """A bucket of an InfluxDB 2 server; `url` is where its HTTP interface begins."""

    url: str
    org: str
    bucket: str


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A SQLite file; what follows `sqlite:///` is its path, so that four slashes make an absolute one."""

    path: Path


StoreAddress = InfluxAddress | SqliteAddress


def parse(text: str) -> StoreAddress:
    """Return the address that the text names; raises `ValueError` that tells what to write instead."""
    if text.startswith(_SQLITE) and text != _SQLITE:
        return SqliteAddress(Path(text.removeprefix(_SQLITE)))
    parts = urlsplit(text)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"write {_FORMS}")
    if "@" in parts.netloc:
        raise ValueError("leave user and password out; the token has a variable of its own")
    return InfluxAddress(_http_url(parts), *_org_and_bucket(parts.query))


def _http_url(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{_SCHEMES[parts.scheme]}://{host}:{parts.port or DEFAULT_PORT}{parts.path.rstrip('/')}"


def _org_and_bucket(query: str) -> tuple[str, str]:
    values = parse_qs(query)
    if set(values) != {"org", "bucket"} or any(len(each) > 1 for each in values.values()):
        raise ValueError(f"name the organization and the bucket, once each and nothing else: {_FORMS}")
    return values["org"][0], values["bucket"][0]
