"""deploy/credentials/credentials.py: passwords are made once, kept, and seen by nobody but their consumer."""

import base64
import hashlib
import json
import re
import runpy
import stat
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    module = runpy.run_path(str(ROOT / "deploy" / "credentials" / "credentials.py"))
    names = module["hand_out"].__globals__
    owners = {}
    monkeypatch.setitem(names, "STORE", tmp_path / "store")
    monkeypatch.setitem(names, "CONSUMERS", tmp_path / "consumers")
    monkeypatch.setitem(names, "USERS", ROOT / "rabbitmq" / "users.py")
    monkeypatch.setattr(names["os"], "chown", lambda path, user, group: owners.__setitem__(Path(path), (user, group)))
    names["STORE"].mkdir()
    for consumer in module["HANDED_OUT"]:
        (names["CONSUMERS"] / consumer).mkdir(parents=True)
    names["owners"] = owners
    return names


def contents(folder):
    return {file.relative_to(folder): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_all_secrets_differ_and_are_long(credentials):
    credentials["hand_out"]()

    secrets = [file.read_text() for file in credentials["STORE"].iterdir()]
    assert len(set(secrets)) == len(secrets) == len(credentials["SECRETS"])
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)


def test_a_second_start_changes_nothing_but_the_salt_of_hashes(credentials):
    credentials["hand_out"]()
    before = contents(credentials["STORE"].parent)
    credentials["hand_out"]()

    after = contents(credentials["STORE"].parent)
    assert after.keys() == before.keys()
    assert {file.name for file in after if after[file] != before[file]} == {"20-users.json"}


def test_what_a_consumer_lost_he_gets_again(credentials):
    credentials["hand_out"]()
    lost = credentials["CONSUMERS"] / "grafana" / "admin-password"
    lost.unlink()
    (lost.parent / ".admin-password.new").write_text("left by a start that was cut short")
    credentials["hand_out"]()

    assert lost.read_text() == (credentials["STORE"] / "grafana-admin").read_text()


def test_only_the_consumer_can_read_his_secrets(credentials):
    credentials["hand_out"]()

    for consumer, (owner, files) in credentials["HANDED_OUT"].items():
        folder = credentials["CONSUMERS"] / consumer
        assert credentials["owners"][folder] == (owner, owner)
        for file in files:
            assert stat.S_IMODE((folder / file).stat().st_mode) == 0o400
            assert credentials["owners"][folder / f".{file}.new"] == (owner, owner)
    assert stat.S_IMODE(credentials["STORE"].stat().st_mode) == 0o700


def test_the_broker_gets_hashes_of_the_services_passwords(credentials):
    credentials["hand_out"]()

    users = json.loads((credentials["CONSUMERS"] / "rabbitmq" / "20-users.json").read_text())["users"]
    defined = json.loads((ROOT / "rabbitmq" / "definitions.json").read_text())["users"]
    assert {user["name"] for user in users} == {user["name"] for user in defined}
    for user in users:
        password = (credentials["STORE"] / f"rabbitmq-{user['name']}").read_bytes()
        hashed = base64.b64decode(user["password_hash"])
        assert hashed[4:] == hashlib.sha256(hashed[:4] + password).digest()


def test_a_person_is_told_where_to_log_in_and_with_what(credentials, capsys, monkeypatch):
    credentials["hand_out"]()
    for number, (_, port, *_) in enumerate(credentials["PAGES"]):
        monkeypatch.setenv(port, str(3000 + number))
    capsys.readouterr()
    credentials["show"]()
    shown = capsys.readouterr().out
    credentials["tell"]()
    told = capsys.readouterr().out

    for name in ("grafana-admin", "rabbitmq-operator", "influxdb-admin"):
        password = (credentials["STORE"] / name).read_text()
        assert password in shown
        assert password not in told
    assert re.search(r"^Grafana +http://127[.]0[.]0[.]1:3001 +admin +[0-9a-f]{48}$", shown, re.MULTILINE)
    assert "make passwords" in told


def test_starting_says_nothing_secret(credentials, capsys):
    credentials["hand_out"]()

    printed = "".join(capsys.readouterr())
    assert f"{len(credentials['SECRETS'])} made, 0 kept" in printed
    assert not [file for file in credentials["STORE"].iterdir() if file.read_text() in printed]


@pytest.mark.skipif(sys.platform == "win32", reason="needs the file modes of Unix")
def test_it_needs_nothing_but_python():
    imported = re.findall(
        r"^(?:import|from) (\w+)", (ROOT / "deploy" / "credentials" / "credentials.py").read_text(), re.MULTILINE
    )

    assert set(imported) <= sys.stdlib_module_names
