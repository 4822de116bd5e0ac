"""What killed recorders, full disks and copies that were cut off leave: it is read as far as it goes, the rest told."""

import gzip
import zlib
from argparse import ArgumentTypeError
from itertools import pairwise

import orjson
import pytest

from simulator.contents import contents, files_of, period_of, within
from simulator.lines import PIECE
from simulator.period import Moment, Period, moment
from simulator.recording import Damage, read

BEGIN_NS = 1_700_000_000_000_000_000
TENTH_NS = 100_000_000


def line(number, **fields):
    event = {"e": "depthUpdate", "E": (BEGIN_NS + number * TENTH_NS) // 10**6, "s": "X", "U": number, "u": number}
    text = orjson.dumps({"stream": "x@depth@100ms", "data": event | {"b": [["1.0", "2.0"]], "a": []}} | fields)
    return b"%d %b\n" % (BEGIN_NS + number * TENTH_NS, text)


def lines(first, last):
    return b"".join(line(number) for number in range(first, last + 1))


def found(path, data, period=None):
    """The ids that are read, and of each damage its lines, the ids around it and the problem."""
    path.write_bytes(data)
    ids, damages = [], []
    for item in read(path, period or Period()):
        if isinstance(item, Damage):
            around = tuple(ns and (ns - BEGIN_NS) // TENTH_NS for ns in (item.after_ns, item.before_ns))
            damages.append(((item.first, item.last), around, item.problem))
        else:
            ids.append(orjson.loads(item.data)["u"])
    return ids, damages


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_bad_lines_in_a_row_are_one_damage_between_the_good_ones(tmp_path, pack):
    data = lines(1, 3) + b"nonsense\n\n" + line(4)[:40] + b"\n" + lines(5, 6) + b"77\n" + lines(7, 8)
    ids, damages = found(tmp_path / "r", pack(data))
    assert ids == [1, 2, 3, 5, 6, 7, 8]
    assert [damage[:2] for damage in damages] == [((4, 6), (3, 5)), ((9, 9), (6, 7))]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_block_of_nuls_harms_only_the_line_that_it_is_in(tmp_path, pack):
    cut = line(4)[:30]
    ids, damages = found(tmp_path / "r", pack(lines(1, 3) + cut + b"\0" * 3 * PIECE + lines(5, 6)))
    assert ids == [1, 2, 3, 5, 6]
    assert damages[-1][1] == (3, 5)
    assert len(damages) == 1
    assert "not valid JSON" in damages[0][2]
    ids, damages = found(tmp_path / "r", pack(lines(1, 3) + b"\0" * 99 + lines(4, 6)))
    assert ids == [1, 2, 3, 4, 5, 6]
    assert [damage[:2] for damage in damages] == [((4, 4), (3, 4))]
    assert "NULs" in damages[0][2]


def test_half_a_last_line_is_told(tmp_path):
    ids, damages = found(tmp_path / "r", lines(1, 5)[:-20])
    assert ids == [1, 2, 3, 4]
    assert [damage[:2] for damage in damages] == [((5, 5), (4, 0))]


@pytest.mark.parametrize("lost", [1, 8, 9, 200])
def test_a_member_that_is_cut_off_before_a_good_one_costs_its_end_only(tmp_path, lost):
    first, second = gzip.compress(lines(1, 500)), gzip.compress(lines(501, 600))
    ids, damages = found(tmp_path / "r", first[:-lost] + second)
    assert ids[-100:] == list(range(501, 601))
    assert all(later > earlier for earlier, later in pairwise(ids))
    assert len(ids) > (590 if lost < 10 else 300)
    assert len(damages) == 1


def test_a_damage_in_the_middle_costs_the_member_that_it_is_in(tmp_path):
    members = [gzip.compress(lines(number, number + 99)) for number in range(1, 1001, 100)]
    members[4] = members[4][:100] + b"\xff" * 50 + members[4][150:]
    ids, damages = found(tmp_path / "r", b"".join(members))
    assert set(ids) >= {*range(1, 401), *range(501, 1001)}
    assert sorted(ids) == ids
    assert len(damages) == 1


def test_a_missing_or_wrong_checksum_is_told_and_all_lines_are_read(tmp_path):
    packed = gzip.compress(lines(1, 300))
    ids, (damage,) = found(tmp_path / "missing", packed[:-8])
    assert ids == list(range(1, 301))
    assert "cut off" in damage[2]
    ids, (damage,) = found(tmp_path / "wrong", packed[:-8] + bytes(8) + gzip.compress(lines(301, 310)))
    assert (ids[-10:], len(ids) > 305) == (list(range(301, 311)), True)
    assert "incorrect data check" in damage[2]


def test_a_cut_member_is_not_believed_where_another_one_is_taken_for_its_rest(tmp_path):
    """Unpacked without an error, into lines that look like a recording's: seen with this very cut."""
    first, second = gzip.compress(lines(1, 500), mtime=0), gzip.compress(lines(501, 600), mtime=0)
    ids, damages = found(tmp_path / "r", first[:-9] + second)
    assert ids == [*range(1, 500), *range(501, 601)] or ids == list(range(1, 601))
    assert len(damages) == 1


def test_what_only_looks_like_the_begin_of_a_member_is_none(tmp_path):
    first, second = gzip.compress(lines(1, 500)), gzip.compress(lines(501, 600))
    for false in (b"\x1f\x8b\x08" * 20, gzip.compress(bytes(range(256)))[:40], first[:12]):
        ids, damages = found(tmp_path / "r", first[: len(first) // 2] + false + b"\xff" * 7 + second)
        assert ids[-100:] == list(range(501, 601))
        assert sorted(ids) == ids
        assert len(damages) == 1


def test_what_stands_between_members_is_told_and_flushed_data_without_an_end_are_read(tmp_path):
    packer = zlib.compressobj(wbits=31)
    open_end = packer.compress(lines(1, 50)) + packer.flush(zlib.Z_SYNC_FLUSH)
    ids, (damage,) = found(tmp_path / "open", open_end)
    assert (ids, damage[0]) == (list(range(1, 51)), (51, 51))
    ids, (damage,) = found(tmp_path / "between", gzip.compress(lines(1, 5)) + bytes(5000) + gzip.compress(lines(6, 9)))
    assert (ids, damage[1]) == (list(range(1, 10)), (5, 6))


@pytest.mark.parametrize("factor", [10**3, 10**6, 10**9])
def test_a_line_whose_time_is_in_another_unit_is_told(tmp_path, factor):
    time, _, text = line(3).partition(b" ")
    ids, damages = found(tmp_path / "r", lines(1, 2) + b"%d %b" % (int(time) // factor, text) + lines(4, 5))
    assert ids == [1, 2, 4, 5]
    ((span, around, problem),) = damages
    assert (span, around) == ((3, 3), (2, 4))
    assert "it has to be in nanoseconds" in problem


def test_notes_and_connections_of_the_recorder_are_no_damage_and_not_seen(tmp_path):
    other = b'%d {"stream":"!other","data":{"e":"other","frame":no JSON},"connection":2}\n' % BEGIN_NS
    note = b'%d {"stream":"!connection","data":{"e":"connection","connection":1}}\n' % BEGIN_NS
    path = tmp_path / "r"
    path.write_bytes(other + note + line(1, connection=12) + line(2))
    first, second = (item for item in read(path) if item.channel.symbol)
    assert first.wrapped == line(1).partition(b" ")[2].strip()
    assert orjson.loads(second.data)["u"] == 2
    assert contents([path]).damages == []
    assert contents([path]).streams == ("x@depth@100ms",)


def test_only_what_is_in_the_period_is_read_and_told(tmp_path):
    data = b"bad\n" + lines(1, 10) + b"bad\n" + lines(11, 20) + b"bad\n" + lines(21, 30)
    period = Period(BEGIN_NS + 8 * TENTH_NS, BEGIN_NS + 16 * TENTH_NS)
    ids, damages = found(tmp_path / "r", data, period)
    assert ids == list(range(8, 16))
    assert [damage[:2] for damage in damages] == [((12, 12), (10, 11))]


def test_times_are_read_as_people_write_them():
    assert moment("90s") == moment("1m30s") == moment("+1.5m") == Moment(90 * 10**9, is_relative=True)
    assert moment("1d") == Moment(86_400 * 10**9, is_relative=True)
    assert moment("2023-11-14T22:13:20Z") == moment("2023-11-14 22:13:20") == Moment(BEGIN_NS, is_relative=False)
    assert moment("2023-11-14T23:13:20.5+01:00") == Moment(BEGIN_NS + 5 * TENTH_NS, is_relative=False)
    for text in ("", "yesterday", "-5s", "5", "5x"):
        with pytest.raises(ArgumentTypeError, match="is neither a time like"):
            moment(text)


def test_files_whose_index_shows_that_they_are_of_another_time_are_not_read(tmp_path):
    for number in range(3):
        data = lines(1 + 100 * number, 100 + 100 * number)
        (tmp_path / f"{number}.ndjson.gz").write_bytes(packed := gzip.compress(data))
        index = {"is_complete": number != 1, "size": len(packed), "lines": 100,
                 "first_received_ns": BEGIN_NS + (1 + 100 * number) * TENTH_NS,
                 "last_received_ns": BEGIN_NS + (100 + 100 * number) * TENTH_NS}  # fmt: skip
        (tmp_path / f"{number}.index.json").write_bytes(orjson.dumps(index))
    files = files_of([tmp_path])
    assert [path.name for path in files] == ["0.ndjson.gz", "1.ndjson.gz", "2.ndjson.gz"]

    def kept(start, end=None):
        return [path.name[0] for path in within(files, period_of(files, moment(start), end and moment(end)))]

    assert kept("5s") == ["0", "1", "2"]
    assert kept("10s") == ["1", "2"]
    assert kept("25s") == ["1", "2"], "an index that is not of a file that was ended is not believed"
    assert kept("0s", "5s") == ["0", "1"]
    with files[0].open("ab") as file:
        file.write(packed)
    assert kept("25s") == ["0", "1", "2"], "nor one of a file that has changed"
