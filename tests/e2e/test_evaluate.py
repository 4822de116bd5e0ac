"""`standalone evaluate` as a process: exit codes, one sentence for what cannot be done, a stop that ends it."""

import os

import made_market
import preloaded
import pytest

from tests.recordings import HERE

pytestmark = pytest.mark.slow


CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}


def evaluated(*arguments, **environ):
    return preloaded.run("standalone", "evaluate", *map(str, arguments), environ=CLEAN | environ)


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (
            ["--capture", HERE / "binance_spot_made_up.ndjson.gz"],
            {},
            "too few pairs to say anything: BTCUSDT of binance",
        ),
        (["--capture", HERE], {}, "the recordings are of different venues"),
        (["--capture", HERE / "none"], {}, "does not exist"),
        (["--from-store"], {"FAIRPRICE_STORE_URL": "sqlite:////none/x.db"}, "cannot read /none/x.db"),
        (["--from-store"], {"FAIRPRICE_CURVE_BPS": "x"}, "FAIRPRICE_CURVE_BPS: "),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_one_line(arguments, environ, said):
    done = evaluated(*arguments, **environ)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_whoever_reads_no_further_is_told_nothing(tmp_path):
    path = made_market.recording(tmp_path / "r", seconds=105, drift=2, noise=20)
    child = preloaded.start(
        "standalone", "evaluate", "--capture", str(path), "--horizon", "1", environ=CLEAN, piped="apart"
    )
    child.stdout.close()

    assert child.communicate() == (None, "")
    assert child.returncode == 2


def test_the_help_of_the_program_names_the_command():
    done = preloaded.run("standalone", "--help", environ=dict(os.environ))

    assert "evaluate --help" in " ".join(done.stdout.split())
    assert evaluated("--help").returncode == 0
