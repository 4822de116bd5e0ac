"""In what Binance's markets differ: the names of fields, the paths and weights of REST."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COIN_M = "counts contracts, not the base asset: COIN-M futures are not followed"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One market's way of speaking.

    The ids that a diff adds begin at `first_id_field` plus `first_id_offset`. A diff with one of `foreign_fields` is of
    another market, which its text says. `depth_weights` are pairs of the most levels a side and the weight of a request
    for them; only those numbers of levels are asked for where `is_fixed_depth`.
    """

    first_id_field: str
    first_id_offset: int
    foreign_fields: Mapping[str, str]
    depth_path: str
    depth_weights: Sequence[tuple[int, int]]
    is_fixed_depth: bool
    symbols_path: str
    symbols_parameters: Mapping[str, str]
    symbols_weight: int
    turnovers_path: str
    turnovers_weight: int

    def depth(self, levels: int) -> tuple[int, int]:
        """Return the number of levels to ask for to get so many, or as many as there can be, and its weight."""
        deepest, heaviest = self.depth_weights[-1]
        if levels >= deepest:
            return deepest, heaviest
        most, weight = next(pair for pair in self.depth_weights if levels <= pair[0])
        return (most if self.is_fixed_depth else levels), weight
