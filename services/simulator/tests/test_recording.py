import gzip
import os

import orjson
import pytest
from tables import each_row

from simulator import RecordingError
from simulator.contents import contents, files_of
from simulator.recording import Damage, read

DIFF = b'{"stream":"%b@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"X","U":1,"u":2,"b":[],"a":[]}}'
SNAPSHOT = b'{"lastUpdateId":1,"bids":[["1.0","2.0"]],"asks":[]}'


def written(tmp_path, *lines, name="recording.ndjson"):
    path = tmp_path / name
    text = b"".join(b"%d %b\n" % (number, line) for number, line in enumerate(lines, 1))
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["plain.ndjson", "packed.gz"])
def test_lines_are_read_plain_or_packed_with_their_bytes_untouched(tmp_path, name):
    path = written(tmp_path, DIFF % b"btcusdt", SNAPSHOT, name=name)
    diff, snapshot = read(path)
    assert (diff.number, diff.time_ns, diff.channel) == (1, 1, ("btcusdt@depth@100ms", "BTCUSDT", "depth"))
    assert diff.wrapped == DIFF % b"btcusdt"
    assert diff.data == diff.wrapped[len(b'{"stream":"btcusdt@depth@100ms","data":') : -1]
    assert (snapshot.channel.kind, snapshot.data) == ("snapshot", SNAPSHOT)


def test_a_bare_snapshot_is_that_of_the_only_symbol(tmp_path):
    found = contents([written(tmp_path, DIFF % b"btcusdt", SNAPSHOT, SNAPSHOT.replace(b":1,", b":9,"))])
    assert found.symbols == ("BTCUSDT",)
    assert found.first_snapshots == {"BTCUSDT": SNAPSHOT}
    assert found.lines == 3


def test_snapshots_of_several_symbols_are_wrapped(tmp_path):
    wrapped = b'{"stream":"ethusdt@snapshot","data":%b}' % SNAPSHOT
    path = written(tmp_path, DIFF % b"btcusdt", DIFF % b"ethusdt", wrapped)
    assert contents([path]).first_snapshots == {"ETHUSDT": SNAPSHOT}
    assert contents([path]).symbols == ("BTCUSDT", "ETHUSDT")


def test_a_bare_snapshot_among_several_symbols_belongs_to_the_one_whose_ids_it_fits(tmp_path):
    path = tmp_path / "bare"
    diff = '{{"stream":"{0}@depth@100ms","data":{{"e":"depthUpdate","s":"{1}","U":{2},"u":{3},"b":[],"a":[]}}}}'
    lines = [
        diff.format("btcusdt", "BTCUSDT", 500, 510),
        diff.format("ethusdt", "ETHUSDT", 90, 95),
        '{"lastUpdateId":92,"bids":[],"asks":[["1","1"]]}',
        '{"lastUpdateId":515,"bids":[],"asks":[["2","1"]]}',
        diff.format("btcusdt", "BTCUSDT", 511, 512),
        diff.format("ethusdt", "ETHUSDT", 96, 99),
    ]
    path.write_text("".join(f"{number} {line}\n" for number, line in enumerate(lines, 1)))
    found = contents([path])

    assert found.bare == {(0, 3): "ETHUSDT", (0, 4): "BTCUSDT"}
    assert found.snapshots == {"ETHUSDT": 1, "BTCUSDT": 1}
    assert b'"lastUpdateId":92' in found.first_snapshots["ETHUSDT"]
    assert b'"lastUpdateId":515' in found.first_snapshots["BTCUSDT"]


def test_frames_written_with_blanks_and_escapes_are_understood(tmp_path):
    path = written(
        tmp_path, b'{"stream": "btcusdt@trade", "data": {"p": "1"}}', b'{"stream":"\\u5e01usdt@trade","data":{"p":"1"}}'
    )
    first, second = read(path)
    assert (first.channel.symbol, first.data) == ("BTCUSDT", b'{"p":"1"}')
    assert second.channel.symbol == "币USDT"


def test_time_may_go_backwards_and_lines_may_be_empty(tmp_path):
    path = tmp_path / "recording"
    path.write_bytes(b"9 %b\n\n\r\n1 %b\r\n" % (DIFF % b"a", DIFF % b"a"))
    assert [(line.number, line.time_ns) for line in read(path)] == [(1, 9), (4, 1)]


@each_row(
    ("bad", "problem"),
    [
        (b"nonsense", "does not begin with a receive time"),
        (b'{"stream":"x@depth","data":{}}', "does not begin with a receive time"),
        (b"-5 {}", "does not begin with a receive time"),
        (b'77 {"stream":"x@depth","data":{"e":', "not valid JSON"),
        (b"77", "not valid JSON"),
        (b"77 {}", "neither a combined-stream frame"),
        (b"77 [1]", "neither a combined-stream frame"),
        (b'77 {"stream":5,"data":{}}', "neither a combined-stream frame"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(tmp_path, bad, problem):
    path = tmp_path / "bad.ndjson"
    path.write_bytes(b"1 %b\n2 %b\n%b\n" % (DIFF % b"a", DIFF % b"a", bad))
    with pytest.raises(RecordingError, match=f"bad.ndjson, line 3: {problem}"):
        contents([path], strict=True)
    (damage,) = contents([path]).damages
    assert str(damage).startswith(f"{path}, line 3 (after 1970-01-01T00:00:00.000Z, to the end): {problem}")


def test_a_compressed_file_that_is_cut_off_is_named_by_file_and_line(tmp_path):
    path = written(tmp_path, *[DIFF % b"%08d" % number for number in range(5000)], name="cut.gz")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(RecordingError, match=r"cut\.gz, line \d{4}: .*the compressed file is cut off here"):
        contents([path], strict=True)
    found = contents([path])
    assert found.lines > 4000
    assert [(damage.first, damage.last) for damage in found.damages] == [(found.lines + 1, found.lines + 1)]


def test_damaged_compressed_data_is_named(tmp_path):
    path = written(tmp_path, *[DIFF % b"%08d" % number for number in range(500)], name="damaged.gz")
    text = bytearray(path.read_bytes())
    text[200:260] = b"\xff" * 60
    path.write_bytes(text)
    with pytest.raises(RecordingError, match=r"damaged\.gz, line \d+: .*the compressed data is damaged"):
        contents([path], strict=True)


def test_a_file_that_is_not_there_or_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(RecordingError, match="nothing: cannot be read: No such file"):
        contents([tmp_path / "nothing"])
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        contents([tmp_path])


@pytest.mark.parametrize("lines", [(), (SNAPSHOT,)])
def test_a_recording_without_events_is_an_error(tmp_path, lines):
    with pytest.raises(RecordingError, match="holds no market events"):
        contents([written(tmp_path, *lines)])


def diff_at(time_us, **fields):
    event = {"e": "depthUpdate", "E": time_us, "s": "BTCUSDT", "U": 1, "u": 2, **fields, "b": [], "a": []}
    return orjson.dumps({"stream": "btcusdt@depth@100ms", "data": event})


NOW_US = 1_700_000_000_000_000


def test_recordings_are_taken_as_they_stand_and_those_of_a_folder_in_the_order_of_their_times(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, time in (("b", 1), ("a", 3), ("c", 2), (".hidden", 0)):
        (folder / name).write_bytes(b"%d %b\n" % (time, DIFF % b"btcusdt"))
    names = [path.name for path in files_of([folder / "a", folder, folder / "b"])]
    assert names == ["a", "b", "c", "a", "b"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="holds no file"):
        files_of([tmp_path])


def test_what_several_recordings_hold_is_told_together(tmp_path):
    first = written(tmp_path, DIFF % b"btcusdt", SNAPSHOT, name="first")
    second = written(
        tmp_path, DIFF % b"ethusdt", DIFF % b"btcusdt", b'{"stream":"btcusdt@snapshot","data":{}}', name="2"
    )
    found = contents([first, second])
    assert found.symbols == ("BTCUSDT", "ETHUSDT")
    assert found.snapshots == {"BTCUSDT": 2}
    assert found.bare == {(0, 2): "BTCUSDT"}
    assert found.first_snapshots == {"BTCUSDT": SNAPSHOT}
    assert found.lines == 5


def test_the_venue_is_told_by_the_diffs(tmp_path):
    spot = written(tmp_path, diff_at(1), name="spot")
    futures = written(tmp_path, diff_at(1, pu=0), name="futures")
    coins = written(tmp_path, diff_at(1, ps="BTCUSD", pu=0), name="coins")
    mixed = written(tmp_path, diff_at(1), diff_at(1, pu=2), name="mixed")
    assert contents([spot]).venue == "binance"
    assert contents([futures]).venue == "binance-usdm"
    with pytest.raises(RecordingError, match=r"coins: a recording of COIN-M futures, which count contracts"):
        contents([coins])
    with pytest.raises(RecordingError, match=r"spot is of binance, .*futures is of binance-usdm"):
        contents([spot, futures])
    with pytest.raises(RecordingError, match="mixed: diffs of different venues are mixed"):
        contents([mixed])


@pytest.mark.parametrize("unit", [1, 1000], ids=["microseconds", "milliseconds"])
def test_a_diff_whose_event_time_is_more_than_a_day_off_is_left_out_and_counted(tmp_path, unit):
    times = [NOW_US, NOW_US + 86_300_000_000, NOW_US - 86_500_000_000, NOW_US * 2, NOW_US + 100_000]
    path = tmp_path / "recording"
    path.write_bytes(b"".join(b"%d000 %b\n" % (NOW_US, diff_at(time // unit)) for time in times))
    assert [line.number for line in read(path) if not isinstance(line, Damage)] == [1, 2, 5]
    (damage,) = contents([path]).damages
    assert (damage.first, damage.last) == (3, 4)
    assert "its event time is more than a day away" in damage.problem


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        (NOW_US, "a receive time in microseconds; it has to be in nanoseconds"),
        (NOW_US // 1000, "in milliseconds; it has to be in nanoseconds"),
        (NOW_US // 1_000_000, "in seconds; it has to be in nanoseconds"),
        (NOW_US // 7, "does each line begin with nanoseconds"),
    ],
)
def test_a_recording_in_another_unit_of_time_is_refused_by_its_name(tmp_path, time, problem):
    path = tmp_path / "recording"
    path.write_bytes(b"".join(b"%d %b\n" % (time, diff_at(NOW_US // 1000)) for _ in range(3)))
    with pytest.raises(RecordingError, match=problem):
        contents([path])


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_byte_order_mark_is_passed_over_and_another_encoding_refused(tmp_path, pack):
    path = tmp_path / "marked"
    text = f"{NOW_US * 1000} {diff_at(NOW_US).decode()}\n"
    path.write_bytes(pack(text.encode("utf-8-sig")))
    assert [line.number for line in read(path)] == [1]
    assert contents([path]).lines == 1
    path.write_bytes(pack(text.encode("utf-16")))
    with pytest.raises(RecordingError, match="UTF-16"):
        contents([path])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(RecordingError, match=r"is a pipe; .* write it to a file first"):
        contents([path])


def test_a_recording_is_listed(recording):
    found = contents([recording.path])
    assert (found.venue, found.symbols, found.damages) == (recording.venue, ("BTCUSDT",), [])
    assert found.lines == recording.lines
    assert list(found.bare) == [(0, recording.snapshot_line + 1)]
    assert found.first_snapshots["BTCUSDT"].startswith(b'{"lastUpdateId":')
