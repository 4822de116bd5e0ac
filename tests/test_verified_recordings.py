"""`crawler verify` on the recordings that are there, the real ones first of all."""

import gzip

import pytest

from crawler.recorder.verification import Verification
from tests.recordings import parameters


@pytest.mark.parametrize("recording", parameters("spot", "usdm"))
def test_each_top_of_a_recording_is_the_tickers_and_a_diff_that_is_taken_out_is_found(recording, tmp_path):
    verification = Verification([recording.path])
    assert verification.run(lambda: False)
    assert verification.problems() == []
    assert verification.venue.name == recording.venue
    tally = verification.tallies["BTCUSDT"]
    assert (verification.lines, tally.diffs, tally.books) == (recording.lines, recording.diffs, recording.books)
    assert (tally.tops, tally.tops_wrong) == (recording.books, 0)

    lines = gzip.decompress(recording.path.read_bytes()).splitlines(keepends=True)
    diffs = [number for number, line in enumerate(lines) if b'"depthUpdate"' in line]
    path = tmp_path / "r"
    path.write_bytes(b"".join(lines[: diffs[200]] + lines[diffs[200] + 1 :]))
    verification = Verification([path])
    assert verification.run(lambda: False)
    (problem,) = verification.problems()
    assert "ids missing in 1 gaps (missed_updates 1)" in problem
