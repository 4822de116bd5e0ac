"""`make bench-quick` fails where a work costs more than its limit."""

import pytest

from benchmarks import quick


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "code", "verdict"), [(17.0, 0, "holds"), (17.1, 1, "IS BROKEN")])
def test_whoever_costs_more_than_twice_what_was_measured_fails(monkeypatch, capsys, engine, code, verdict):
    costs = {"loads": [9.0, 1.0], "engine": [99.0, engine], "converter": [1.0], "storer": [1.0], "gateway": [1.0]}

    def done_once(_rounds, works):
        for prepare in works.values():
            prepare()()
        return costs

    monkeypatch.setattr(quick, "interleaved", done_once)
    assert quick.main() == code
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"engine: {engine:.1f}x orjson.loads of the diffs; the limit of 17x {verdict}"
    assert all(line.endswith("holds") for line in told[1:])
