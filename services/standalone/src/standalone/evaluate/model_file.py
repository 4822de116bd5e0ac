"""The file of a fitted micro-price: written by `standalone fit`, read by `standalone evaluate`."""

from datetime import UTC, datetime
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from fairprice.errors import StartupError
from standalone.evaluate.chain import FEWEST, Chain
from standalone.evaluate.instants import STEP
from standalone.evaluate.micro_price import LIMIT, MicroPrice
from standalone.evaluate.states import BUCKETS, SPREADS, STATES

SECOND = 1_000_000
FORM = {"model": LIMIT, "step_us": STEP, "imbalance_buckets": BUCKETS, "spread_buckets": SPREADS}
"""What has to be so in a file that is read here."""


def write_model(path: Path, model: MicroPrice) -> None:
    """Write a model; raises `StartupError` where the file cannot be written."""
    content = {
        **FORM,
        "venue": model.venue,
        "symbol": model.symbol,
        "tick": decimal(model.tick),
        "first_time": model.first_time,
        "last_time": model.last_time,
        "counts": model.chain.counts,
        "drift": model.chain.drift,
        "matrix": model.chain.matrix,
        "limit": model.chain.limit(),
    }
    try:
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror or error}") from error


def read_model(path: Path) -> MicroPrice:
    """Read a model; raises `StartupError` that says what is wrong with the file."""
    try:
        model = _model(orjson.loads(path.read_bytes()))
        model.chain.limit()  # raises where there is none
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise StartupError(f"{path} is no model of `standalone fit`: {error}") from error
    return model


def describe(model: MicroPrice) -> str:
    """Say what a model is made of."""
    counts = model.chain.counts
    seconds = (model.last_time - model.first_time) / SECOND
    until = datetime.fromtimestamp(model.last_time / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
    seen = sum(1 for count in counts if count >= FEWEST)
    return (
        f"micro_price of {model.symbol} of {model.venue}: fitted to {seconds:,.0f} s up to {until} UTC, tick "
        f"{decimal(model.tick)}, {sum(counts) // 2:,} transitions, {seen} of {STATES} states seen often enough"
    )


def decimal(number: Fraction) -> str:
    """Return a number of at most eight decimals as people write it."""
    return f"{float(number):.8f}".rstrip("0").rstrip(".")


def _model(content: dict[str, Any]) -> MicroPrice:
    for name, value in FORM.items():
        if content[name] != value:
            raise ValueError(f"{name} is {content[name]!r} and not {value!r}")
    counts, drift, matrix = content["counts"], content["drift"], content["matrix"]
    if not (len(counts) == len(drift) == len(matrix) == STATES and all(len(row) == STATES for row in matrix)):
        raise ValueError(f"it has not {STATES} states")
    if not all(isfinite(value) for value in drift) or not all(
        abs(sum(row) - 1) < 1e-6 and min(row) >= 0 for row in matrix
    ):
        raise ValueError("drift or matrix hold what cannot be")
    tick = Fraction(content["tick"])
    if tick <= 0:
        raise ValueError("the tick is not positive")
    times = int(content["first_time"]), int(content["last_time"])
    return MicroPrice(str(content["venue"]), str(content["symbol"]), tick, *times, Chain(counts, matrix, drift))
