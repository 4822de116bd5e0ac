"""Applies to every test of the workspace."""

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Hashable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ["SSL_CERT_FILE"] = os.devnull
"""Each process reads the machine's authorities twice as aiohttp is loaded; no test believes one of them."""

pytest.register_assert_rewrite(
    "broker_contract", "broker_load", "broker_steps", "brokers", "compose_stack", "databases", "driven",
    "exchange_data", "influx_server", "ledger", "pipeline", "processes", "proxies", "store_contract", "venue_contract",
    "waiting",
)  # fmt: skip  # here, since a conftest beside them may come when another has imported them

from dealing import dealt  # noqa: E402
from rabbitmq_nodes import server_of  # noqa: E402
from recordings import Recording, parameters  # noqa: E402

ANY_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
"""How long an example takes says how busy the machine is, and nothing else."""
settings.register_profile("few", max_examples=20, **ANY_MACHINE)
settings.register_profile("many", max_examples=300, **ANY_MACHINE)  # make check
settings.load_profile("few")

gc.disable()
"""Nothing that is made while tests are collected is garbage."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return two workers a core where tests wait for processes half of the time, one where they only compute.

    None, which asks xdist, where its own variable says how many.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores * (1 if "not slow" in config.option.markexpr else 2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that stop servers: they last longest."""
    items.sort(key=lambda item: "each_private_broker" not in _fixtures(item))


class Deal:
    """Deals out to parallel workers what is left when the others have left tests out."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Let each worker begin with his share of what takes long."""
        items[:] = dealt(
            items,
            config.workerinput["workercount"],  # type: ignore[attr-defined]
            seconds=_seconds,
            stack=_stack,
        )


def _seconds(item: pytest.Item) -> float:
    """Return about how many seconds of CPU a slow test takes, 0 of any other."""
    return max((mark.kwargs.get("seconds", 0.3) for mark in item.iter_markers("slow")), default=0.0)


def _stack(item: pytest.Item) -> Hashable:
    """Return what slow tests share.

    One replay of a recording is looked at by tests of several files: they stay together, and play it once. So do those
    that share a browser. Those of `tests/faults`, which last longest, share nothing.
    """
    for shared in ("replay", "browser"):
        if shared in _fixtures(item):
            return shared
    return item if item.path.parent.name == "faults" else item.path


def pytest_configure(config: pytest.Config) -> None:
    """Let parallel workers begin with what takes long; those who share servers have an order of their own."""
    if hasattr(config, "workerinput") and not config.option.loadgroup:
        config.pluginmanager.register(Deal())


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep with one worker what shares a RabbitMQ; xdist 3.8 sees no groups that are marked with pytest 9.2."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415  only the process that hands out the tests needs it

    class ByServer(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return server_of(nodeid)

    return ByServer(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage in what tests make, seldom, and not again and again in thousands of tests."""
    gc.freeze()
    gc.set_threshold(20_000)  # 700, Python's own, takes a twelfth of the time of tests
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Fail a test that has set up the log of this process: what later ones log would not reach who captures it."""
    structlog = sys.modules.get("structlog")
    if structlog and structlog.get_config()["cache_logger_on_first_use"]:
        structlog.reset_defaults()
        pytest.fail("it has set up the log of the tests' process: run what does so as a process")


NO_SKIPS = "FAIRPRICE_TEST_NO_SKIPS"
"""Set in CI: whatever a test needs is there, so one that skips is broken."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001  pytest hands over by name
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped; a test may be exempt by `may_skip`.

    No garbage is looked for meanwhile: what its finalizers parse, while a report parses what it quotes, ended whole
    workers (before Python 3.11.8 and 3.12.2, cpython #106905).
    """
    gc.disable()
    try:
        report = yield
    finally:
        gc.enable()
    is_skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get(NO_SKIPS) and is_skipped and item.get_closest_marker("may_skip") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped although {NO_SKIPS} is set: {_reason(report.longrepr)}"
    return report


@pytest.fixture(scope="session", autouse=True)
def opened_markets() -> Iterator[None]:
    """Let every exchange of this process begin with copies of markets that another one has opened."""
    from markets import opened  # noqa: PLC0415  not in the process that only hands out tests

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulator.exchange.Market", opened)
        yield


@pytest.fixture(scope="module", params=parameters("spot", "usdm"))
def recording(request: pytest.FixtureRequest) -> Recording:
    """Return each recording that there is: made-up ones anywhere, real ones where they were fetched."""
    recording: Recording = request.param
    return recording


@pytest.fixture(scope="module", params=parameters("spot"))
def spot_recording(request: pytest.FixtureRequest) -> Recording:
    """Return each recording of the spot market."""
    recording: Recording = request.param
    return recording


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped and how to enable it, one line a reason."""
    reasons = Counter(_reason(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")


def _reason(longrepr: Any) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
