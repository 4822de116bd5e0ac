"""`crawler record DIR`: a crawler whose events nobody gets, shown to a recorder. `crawler verify`: what it is worth."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from crawler.app import Crawler
from crawler.proxy import ProxyFor
from crawler.recorder import report
from crawler.recorder.account import Account
from crawler.recorder.files import RecordingEnded, RecordingFiles
from crawler.recorder.reader import files_of
from crawler.recorder.recorder import Recorder
from crawler.recorder.verification import Verification, by_venue
from crawler.settings import CrawlerSettings
from fairprice.errors import FatalError, StartupError
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import Clock


async def record(
    settings: CrawlerSettings,
    folder: Path,
    *,
    seconds: float,
    size: float,
    stop: asyncio.Event,
    clock: Clock,
    random: Random,
    proxy: ProxyFor = lambda _address: None,
) -> int:
    """Record until `stop` is set; a file has at most so many seconds and about so many bytes.

    Returns 0 when all that the exchange sent is there, 1 when something is missing or wrong. Raises `StartupError` when
    nothing could be recorded.
    """
    files = RecordingFiles(folder, settings.venue, clock, seconds=seconds, size=round(size))
    is_one = len(settings.symbols) == len(settings.selection().names) == 1
    recorder = Recorder(files, wraps_snapshots=not is_one)
    account = Account(files, recorder.begin_file)
    settings = settings.model_copy(update={"state_dir": None})
    crawler = Crawler(settings, account, name="recorder", random=random, clock=clock, proxy=proxy, tap=recorder)
    recorder.refresh = crawler.refresh
    print(f"Recording {', '.join(settings.symbols)} into {folder}; Ctrl-C ends it.", file=sys.stderr)
    problems: list[str] = []
    try:
        is_done = await lifecycle.drain(crawler.run(stop), stop)
    except* RecordingEnded as errors:
        is_done, problems = True, [str(error) for error in errors.exceptions]
    except* FatalError:
        if files.lines:
            await files.end()
        raise
    finally:
        files.close()
    if not is_done:
        problems = ["the last lines were not stored in time"]
    problems += _problems(crawler, account)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not files.lines:
        raise StartupError(f"nothing was recorded into {folder}")
    print(f"{files.lines} lines in {len(files.paths)} files of {folder}.", file=sys.stderr)
    return lifecycle.EXIT_INCOMPLETE if problems else lifecycle.EXIT_OK


def _problems(crawler: Crawler, account: Account) -> list[str]:
    """Say what is missing or wrong; unreadable frames are in the recording, what they lack shows as a gap."""
    found = []
    if account.gaps:
        found.append(f"{account.gaps} gaps: what the exchange sent then is not in the recording; the index lists them")
    if account.wrong:
        found.append(f"{account.wrong} tops or levels differ from what the exchange tells of them")
    if missing := crawler.summary.missing:
        found.append(f"no book could be made of {', '.join(missing)}")
    return found


async def verify(paths: Sequence[Path], stop: asyncio.Event, *, as_json: bool) -> int:
    """Replay recordings, print what was found of each venue, and return the exit code.

    It is 0, or 1 where something is missing, wrong or not readable. Raises `StartupError` where there is nothing to
    replay, or when it was stopped before the end.
    """
    exit_code = lifecycle.EXIT_OK
    for files in by_venue(files_of(paths)):
        verification = Verification(files)
        began = time.monotonic()
        if not await asyncio.to_thread(verification.run, stop.is_set):
            raise StartupError("stopped before the end")
        print(report.as_json(verification) if as_json else report.as_table(verification, time.monotonic() - began))
        if verification.problems():
            exit_code = lifecycle.EXIT_INCOMPLETE
    return exit_code
