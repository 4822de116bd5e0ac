"""The converter's settings."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fairprice.runtime.settings import Decimals, ServiceSettings


def _at_most_16_decimals(numbers: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    for number in numbers:
        if (Fraction(number) * 10**16).denominator != 1:
            raise ValueError(f"write at most 16 decimals, not {number}")
    return numbers


class ConverterSettings(ServiceSettings):
    """The choices behind a price."""

    estimator: Literal["mid", "weighted_mid", "impact_mid"] = Field(
        "weighted_mid", description="which estimate becomes `price`: mid, weighted_mid or impact_mid"
    )
    depth_bps: Decimals = Field(
        (Decimal("0.1"), Decimal("0.5"), Decimal(1)),
        description="half-widths of the depth bands, basis points of the mid",
    )
    impact_notionals: Annotated[Decimals, Field(min_length=1), AfterValidator(_at_most_16_decimals)] = Field(
        (Decimal(10_000), Decimal(100_000)),
        description="quote amounts of the impact prices; the first is the one of impact_mid",
    )
