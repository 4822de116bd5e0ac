"""Settings: frozen models made from a mapping of environment variables that is passed in.

Each service declares its own fields. A field `book_levels` is the variable `FAIRPRICE_BOOK_LEVELS`. All services may be
given the same environment, so a service ignores its neighbours' variables; a name that belongs to nobody is an error.
A secret may also be in a file, which `FAIRPRICE_..._FILE` names.

Kubernetes sets variables for each Service; those of one that is called `fairprice-...` look like settings and are
passed over (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from fairprice.errors import SettingsError
from fairprice.runtime.logging import Format, Level

PREFIX = "FAIRPRICE_"
TEST_PREFIX = "FAIRPRICE_TEST_"

VARIABLES = (
    "FAIRPRICE_ADDRESS_SHARE",
    "FAIRPRICE_BASIS_BOUND",
    "FAIRPRICE_BOOK_LEVELS",
    "FAIRPRICE_BROKER_PASSWORD",
    "FAIRPRICE_BROKER_URL",
    "FAIRPRICE_BROKER_USER",
    "FAIRPRICE_CURVE_BPS",
    "FAIRPRICE_DEPTH_BPS",
    "FAIRPRICE_DEPTH_DISTANCES",
    "FAIRPRICE_DEPTH_INTERVAL",
    "FAIRPRICE_ESTIMATOR",
    "FAIRPRICE_EXCHANGE_REST_URL",
    "FAIRPRICE_EXCHANGE_STREAM_URL",
    "FAIRPRICE_FORECAST_HORIZON",
    "FAIRPRICE_HISTORY_MINUTES",
    "FAIRPRICE_HTTP_HOST",
    "FAIRPRICE_HTTP_NAMES",
    "FAIRPRICE_HTTP_PORT",
    "FAIRPRICE_IMPACT_NOTIONALS",
    "FAIRPRICE_LOG_FORMAT",
    "FAIRPRICE_LOG_LEVEL",
    "FAIRPRICE_MAX_SYMBOLS",
    "FAIRPRICE_QUOTE_INTERVAL",
    "FAIRPRICE_SHARD",
    "FAIRPRICE_SILENCE_TIMEOUT",
    "FAIRPRICE_SNAPSHOT_LEVELS",
    "FAIRPRICE_STALE_AFTER",
    "FAIRPRICE_STATE_DIR",
    "FAIRPRICE_STORE_BATCH_AGE",
    "FAIRPRICE_STORE_BATCH_ROWS",
    "FAIRPRICE_STORE_BOOK_INTERVAL",
    "FAIRPRICE_STORE_GZIP",
    "FAIRPRICE_STORE_MAX_SIZE",
    "FAIRPRICE_STORE_RETENTION",
    "FAIRPRICE_STORE_TIMEOUT",
    "FAIRPRICE_STORE_TOKEN",
    "FAIRPRICE_STORE_URL",
    "FAIRPRICE_STREAM_CONNECTIONS",
    "FAIRPRICE_SYMBOLS",
    "FAIRPRICE_VENUE",
)
"""Every variable that some service knows."""

SECRETS = ("FAIRPRICE_BROKER_PASSWORD", "FAIRPRICE_STORE_TOKEN")
"""Those of them whose value is a secret; for each there is one with `_FILE` behind it."""

_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_LINK_URL = re.compile(r"(tcp|udp|sctp)://\S+")

_KNOWN = {*VARIABLES, *(f"{name}_FILE" for name in SECRETS)}

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value.strip())
    if not match:
        raise ValueError("write a duration like 500ms, 1s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _bounded(number: Decimal) -> Decimal:
    """Return the number; raises `ValueError` for one whose exact arithmetic would take for ever."""
    if not -18 <= number.adjusted() < 18:
        raise ValueError("write numbers between 1e-18 and 1e18")
    return number


def _symbol(text: object) -> str:
    """Return a symbol in the exchange's writing: `btcusdt`, `BTC/USDT` and `BTC-USDT` are `BTCUSDT`.

    An underscore stays, for it tells a dated contract from others: `BTCUSDT_260327`. Patterns keep their `*`, `?`, `!`.
    """
    symbol = re.sub("[/-]", "", str(text).strip().upper())
    if any(each.isspace() for each in symbol):
        raise ValueError(f"separate symbols by commas, like BTCUSDT,ETHUSDT; {text!r:.80} holds a blank")
    if not re.fullmatch(r"!?[\w*?]{1,64}", symbol):
        raise ValueError(f"write symbols like BTCUSDT, BTC/USDT or BTC-USDT, patterns like *USDT, not {text!r:.80}")
    return symbol


def _symbols(value: object) -> object:
    parts = _split(value)
    if not isinstance(parts, (tuple, list)):
        return value
    if not parts:
        raise ValueError("write at least one symbol, like BTCUSDT")
    if all(str(part).startswith("!") for part in parts):
        raise ValueError("write what to follow, like *USDT, before what not to, like !*UPUSDT")
    return tuple(dict.fromkeys(map(_symbol, parts)))


Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
"""Symbols in the exchange's writing, and patterns, each once; may be written as people do, separated by commas."""
Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
"""Seconds; written like `500ms`, `1s`, `5m`, `2h`."""
PositiveDecimal = Annotated[Decimal, Field(gt=0), AfterValidator(_bounded)]
Decimals = Annotated[tuple[PositiveDecimal, ...], BeforeValidator(_split)]


class FileSecret(SecretStr):
    """A secret in a file, without the blanks around it.

    `get_secret_value` reads the file each time, so that a secret that was changed counts without a restart. It and the
    constructor raise `OSError` when the file cannot be read, `ValueError` when it holds something else than one line.
    With `may_come` the constructor takes a file that is not there yet.
    """

    def __init__(self, path: Path, *, may_come: bool = False) -> None:
        super().__init__(_read_secret(path) if path.exists() or not may_come else "")
        self._path = path

    def get_secret_value(self) -> str:
        """Return what the file holds now."""
        return _read_secret(self._path)


def _read_secret(path: Path) -> str:
    secret = path.read_text().strip()
    if not secret or not secret.isprintable():
        raise ValueError(f"{path} holds no secret in one line")
    return secret


class ServiceSettings(BaseModel):
    """Settings of every service; subclasses add their own fields.

    `awaited` are those secrets of a service whose files may come after its start.
    """

    awaited: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_level: Level = Field("info", description="how much is logged: debug, info, warning or error")
    log_format: Format = Field("auto", description="console, json, or auto: console on a terminal, else JSON")

    @classmethod
    def load(cls, environ: Mapping[str, str], **overrides: object) -> Self:
        """Make the settings from `FAIRPRICE_*` variables; `overrides`, from a command line, win.

        Raises `SettingsError` that names each variable that is unknown or wrong and what to write instead.
        """
        problems = [_unknown(name) for name, value in sorted(environ.items()) if _is_unknown(name, value)]
        environ = given(environ)
        values: dict[str, object] = {
            field: environ[PREFIX + field.upper()] for field in cls.model_fields if PREFIX + field.upper() in environ
        }
        try:
            values |= _secrets_in_files(
                environ, {PREFIX + field.upper(): field for field in cls.model_fields}, cls.awaited
            )
        except ValueError as error:
            problems.append(str(error))
        try:
            settings = cls.model_validate({**values, **overrides})
        except ValidationError as error:
            problems += [_wrong(each["loc"], each["msg"], each["input"]) for each in error.errors()]
        if problems:
            raise SettingsError("; ".join(problems))
        return settings


class HttpSettings(ServiceSettings):
    """Where a service answers about its health; the gateway's page is there, too."""

    http_host: str = Field("127.0.0.1", description="address that is served; 0.0.0.0 opens it to the network")
    http_port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="port of the page; health of crawler, converter, storer is on 8001, 8002, 8003",
    )


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that somebody has set for a program: not the empty ones, not the links of Kubernetes."""
    return {name: value for name, value in environ.items() if value and not _is_service_link(name, value)}


def remarks(environ: Mapping[str, str]) -> list[str]:
    """Return in sentences what of the environment is read in a way of its own, for the log.

    A value that cannot be read is passed over: it is an error of the service whose setting it is.
    """
    links = sorted(name for name, value in environ.items() if _is_service_link(name, value))
    found = [f"passed over, since Kubernetes sets them for a Service: {', '.join(links)}"] if links else []
    try:
        return found + _remarks_on_symbols(environ.get("FAIRPRICE_SYMBOLS", ""))
    except ValueError:
        return found


def _remarks_on_symbols(text: str) -> list[str]:
    written = [part.strip() for part in text.split(",") if part.strip()]
    read = [_symbol(part) for part in written]
    found = [
        f"FAIRPRICE_SYMBOLS: {part} is read as {symbol}"
        for part, symbol in zip(written, read, strict=True)
        if part != symbol
    ]
    return found + [
        f"FAIRPRICE_SYMBOLS: {symbol} is named {count} times" for symbol, count in Counter(read).items() if count > 1
    ]


def _is_unknown(name: str, value: str) -> bool:
    is_ours = name.upper().startswith(PREFIX) and not name.startswith(TEST_PREFIX)
    return is_ours and name not in _KNOWN and not _is_service_link(name, value)


def _is_service_link(name: str, value: str) -> bool:
    if not name.startswith(PREFIX):
        return False
    return bool(_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_LINK_URL.fullmatch(value)))


def _file_variable(name: str) -> str:
    return f"{name}_FILE"


def _secrets_in_files(
    environ: Mapping[str, str], fields: Mapping[str, str], awaited: frozenset[str]
) -> dict[str, object]:
    """Return the secrets by field whose files are named; `fields` are a service's fields by variable."""
    secrets: dict[str, object] = {}
    for name in fields.keys() & SECRETS:
        variable = _file_variable(name)
        if variable not in environ:
            continue
        if name in environ:
            raise ValueError(f"{variable}: {name} is set as well; leave one of them out")
        try:
            path, field = Path(environ[variable]), fields[name]
            secrets[field] = FileSecret(path, may_come=field in awaited)
        except (OSError, ValueError) as error:
            raise ValueError(f"{variable}: {error}") from error
    return secrets


def _unknown(name: str) -> str:
    if name.upper() in VARIABLES:
        return f"{name} is no setting; write it in capitals, {name.upper()}"
    nearest = difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0)
    return f"{name} is no setting; did you mean {nearest[0]}?"


def _without_login(text: str) -> str:
    """Take user and password out of the addresses in a text, with all between the first and the last of them."""
    return re.sub("//.*@", "//...@", text)


def _wrong(location: tuple[int | str, ...], message: str, value: object) -> str:
    variable = f"{PREFIX}{str(location[0]).upper()}"
    got = "" if variable in SECRETS else f" (got {_without_login(repr(value)):.80})"
    return f"{variable}: {message.removeprefix('Value error, ')}{got}"
