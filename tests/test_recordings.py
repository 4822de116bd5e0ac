"""The recordings that other tests play are what they are taken for."""

import gzip
import hashlib
from dataclasses import asdict

import pytest
from recordings import RECORDINGS, make, parameters

from scripts.fetch_recordings import RECORDINGS as PUBLISHED
from scripts.fetch_recordings import Recording, fetch

MADE = [recording for recording in RECORDINGS if not recording.is_real]


def test_what_is_known_of_a_recording_is_what_an_independent_reader_finds(recording):
    found = make.facts(recording.path, recording.market)
    assert found | {"is_whole": recording.is_whole} == asdict(recording)


@pytest.mark.parametrize("recording", [each for each in parameters("spot", "usdm") if not each.values[0].is_whole])
def test_a_beginning_is_the_first_minute(recording):
    with gzip.open(recording.whole) as whole, gzip.open(recording.path) as beginning:
        lines = list(beginning)
        assert lines == [next(whole) for _ in lines]
        first, last, next_one = (int(line.split()[0]) for line in (lines[0], lines[-1], next(whole)))
    assert last - first < 60_000_000_000 <= next_one - first


@pytest.mark.parametrize("recording", MADE, ids=str)
def test_the_simulator_makes_the_committed_recordings_again(recording):
    assert gzip.decompress(recording.path.read_bytes()) == make.made(recording.market), (
        "python -m tests.recordings.make"
    )
    assert recording.path.stat().st_size < 150_000


def test_every_real_recording_can_be_fetched():
    assert {recording.file for recording in RECORDINGS if recording.is_real} == {each.file for each in PUBLISHED}


@pytest.fixture
def published(tmp_path):
    """A recording on a server that is a folder."""
    content = b"what the exchange sent"
    (tmp_path / "there" / "examples").mkdir(parents=True)
    (tmp_path / "there" / "examples" / "it.gz").write_bytes(content)
    return Recording("it.ndjson.gz", "examples/it.gz", hashlib.sha256(content).hexdigest())


def test_a_recording_is_fetched_once(published, tmp_path):
    there = (tmp_path / "there").as_uri()
    assert fetch(published, there, tmp_path / "here").endswith("fetched, 22 bytes")
    assert fetch(published, "https://nowhere.invalid", tmp_path / "here").endswith("is there")
    assert (tmp_path / "here" / "it.ndjson.gz").read_bytes() == b"what the exchange sent"


def test_what_has_another_hash_is_not_kept(published, tmp_path):
    other = published._replace(sha256="0" * 64)
    with pytest.raises(ValueError, match=f"its SHA-256 is {published.sha256}, not 0000"):
        fetch(other, (tmp_path / "there").as_uri(), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_damaged_recording_is_fetched_anew(published, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "it.ndjson.gz").write_bytes(b"half")
    assert "fetched" in fetch(published, (tmp_path / "there").as_uri(), tmp_path / "here")
