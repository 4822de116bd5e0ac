"""The converter's settings."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field

from converter.forecast import FORECASTS
from fairprice.estimates import DEFAULT, ESTIMATES
from fairprice.runtime.settings import Decimals, Duration, PositiveDecimal, ServiceSettings

_NAMES = ", ".join(ESTIMATES)


def _at_most_16_decimals(numbers: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    for number in numbers:
        if (Fraction(number) * 10**16).denominator != 1:
            raise ValueError(f"write at most 16 decimals, not {number}")
    return numbers


def _in_the_table(name: str) -> str:
    if name not in ESTIMATES:
        raise ValueError(f"write one of {_NAMES}, not {name!r:.80}")
    return name


def _with_a_beta(seconds: float) -> float:
    if seconds not in FORECASTS:
        raise ValueError("write 500ms, 1s or 5s")
    return seconds


class ConverterSettings(ServiceSettings):
    """The choices behind a price."""

    estimator: Annotated[str, AfterValidator(_in_the_table)] = Field(
        DEFAULT, description=f"which estimate becomes `price`: {_NAMES}"
    )
    curve_bps: PositiveDecimal = Field(
        Decimal(1), description="half spread up to which curve_mid follows the book, basis points"
    )
    forecast_horizon: Annotated[Duration, AfterValidator(_with_a_beta)] = Field(
        1.0, description="how far ahead forecast_mid looks: 500ms, 1s or 5s"
    )
    depth_bps: Decimals = Field(
        (Decimal("0.1"), Decimal("0.5"), Decimal(1)),
        description="half-widths of the depth bands, basis points of the mid",
    )
    impact_notionals: Annotated[Decimals, Field(min_length=1), AfterValidator(_at_most_16_decimals)] = Field(
        (Decimal(10_000), Decimal(100_000)),
        description="quote amounts of the impact prices; the first is the one of impact_mid",
    )
