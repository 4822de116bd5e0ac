"""Whatever befalls either of two crawlers, the rows of both together are true, and what is missing is recorded."""

import pytest

from storer.stores.sqlite import open_sqlite
from tests.faults.two_feeds import World

WINDOWS = 150
MORE = [pytest.param(seed, marks=pytest.mark.rounds) for seed in range(4, 120)]


@pytest.mark.parametrize("seed", [*range(4), *MORE])
async def test_any_mixture_of_faults_on_two_feeds(seed, tmp_path):
    store = await open_sqlite(tmp_path / "two.db")
    world = World(seed, store)
    try:
        await world.live(WINDOWS)
        await world.recover()
        await world.require_everything()
    except AssertionError as error:
        error.add_note("\n".join([f"seed {seed}", *world.story]))
        raise
    finally:
        await store.close()
