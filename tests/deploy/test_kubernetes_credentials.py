"""deploy/credentials/cluster.py: the passwords of credentials.py as Secrets, made once, kept, each for its consumer."""

import base64
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "credentials"


class Kubernetes:
    """The Secrets of a namespace, as its API shows and applies them."""

    def __init__(self):
        self.secrets = {}

    def ask(self, method, name, applied=None):
        if method == "PATCH":
            assert applied["metadata"]["name"] == name
            self.secrets[name] = applied["data"]
        return {"data": self.secrets[name]} if name in self.secrets else {}

    def read(self, name):
        return {key: base64.b64decode(value).decode() for key, value in self.secrets[name].items()}


@pytest.fixture
def kubernetes():
    return Kubernetes()


@pytest.fixture
def cluster(kubernetes, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "credentials", raising=False)
    names = runpy.run_path(str(FOLDER / "cluster.py"))["make"].__globals__
    credentials = names["credentials"]
    monkeypatch.setattr(credentials, "STORE", tmp_path / "store")
    monkeypatch.setattr(credentials, "CONSUMERS", tmp_path / "consumers")
    monkeypatch.setattr(credentials, "USERS", ROOT / "rabbitmq" / "users.py")
    monkeypatch.setitem(names, "ask", kubernetes.ask)
    for folder in (credentials.STORE, credentials.CONSUMERS):
        folder.mkdir()
    yield names
    monkeypatch.delitem(sys.modules, "credentials")


def test_each_consumer_gets_what_he_gets_in_compose(cluster, kubernetes):
    cluster["make"]()

    everything = kubernetes.read("credentials")
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in everything.values())
    assert len(set(everything.values())) == len(everything) == len(cluster["credentials"].SECRETS) + 1
    for consumer, (_, files) in cluster["credentials"].HANDED_OUT.items():
        if files:
            assert kubernetes.read(consumer) == {file: everything[name] for file, name in files.items()}
    users = json.loads(kubernetes.read("rabbitmq")["20-users.json"])["users"]
    assert {user["name"] for user in users} == {
        user["name"] for user in json.loads((ROOT / "rabbitmq" / "definitions.json").read_text())["users"]
    }
    assert kubernetes.read("rabbitmq")["erlang-cookie"] == everything["rabbitmq-erlang-cookie"]
    assert kubernetes.read("scaler") == {"host": f"http://scaler:{everything['rabbitmq-scaler']}@rabbitmq:15672/"}


def test_a_second_run_keeps_what_is_there_and_makes_what_was_taken_away(cluster, kubernetes, capsys):
    cluster["make"]()
    before = {name: kubernetes.read(name) for name in kubernetes.secrets}
    del kubernetes.secrets["credentials"]["rabbitmq-crawler"]
    cluster["make"]()

    after = {name: kubernetes.read(name) for name in kubernetes.secrets}
    assert {name for name in after if after[name] != before[name]} == {"credentials", "crawler", "rabbitmq"}
    assert after["crawler"]["broker-password"] != before["crawler"]["broker-password"]
    assert after["rabbitmq"]["erlang-cookie"] == before["rabbitmq"]["erlang-cookie"]
    printed = capsys.readouterr().out
    assert "1 made" in printed
    assert not [secret for secret in after["credentials"].values() if secret in printed]


def test_what_the_provisioner_has_made_is_kept_and_found_again(cluster, kubernetes):
    folder = cluster["credentials"].CONSUMERS / "store-token"
    cluster["recall"]("store-token")
    assert list(folder.iterdir()) == []
    (folder / "token").write_text("chosen by the server\n")
    cluster["keep"]("store-token")
    (folder / "token").unlink()
    cluster["recall"]("store-token")

    assert kubernetes.read("store-token") == {"token": "chosen by the server\n"}
    assert (folder / "token").read_text() == "chosen by the server\n"


@pytest.mark.parametrize(
    ("status", "says"), [(403, "refuses PATCH of the Secret crawler: 403"), (None, "does not answer at api:443")]
)
def test_what_kubernetes_does_not_allow_is_told_in_a_line(tmp_path, monkeypatch, status, says):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = runpy.run_path(str(FOLDER / "cluster.py"))["make"].__globals__
    for file in ("ca.crt", "namespace", "token"):
        (tmp_path / file).write_text("a")

    class Connection:
        host, port = "api", 443

        def __init__(self, *_arguments, **_options):
            pass

        def request(self, method, path, body, headers):
            assert (method, path) == ("PATCH", "/api/v1/namespaces/a/secrets/crawler?fieldManager=fairprice&force=true")
            assert json.loads(body)["data"] == {"broker-password": "c2VjcmV0"}
            assert headers["Authorization"] == "Bearer a"
            if status is None:
                raise ConnectionRefusedError

        def getresponse(self):
            self.status = status
            return self

        def read(self):
            return b"forbidden"

    monkeypatch.setitem(names, "ACCOUNT", tmp_path)
    monkeypatch.setitem(names, "HTTPSConnection", Connection)
    monkeypatch.setattr(names["ssl"], "create_default_context", lambda cafile: SimpleNamespace(verify_flags=0))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "api")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(SystemExit, match=re.escape(says)) as ended:
        names["write"]("crawler", {"broker-password": "secret"})
    assert "c2VjcmV0" not in str(ended.value)


def test_it_needs_nothing_but_python():
    imported = re.findall(r"^(?:import|from) (\w+)", (FOLDER / "cluster.py").read_text(), re.MULTILINE)

    assert set(imported) - {"credentials"} <= sys.stdlib_module_names
