"""Makes in InfluxDB what the pipeline needs, where it is missing: buckets, the task of the bars, credentials.

Everything is found again by its name, so running it twice changes nothing.
"""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from fairprice.errors import StartupError
from storer import secret_file
from storer.influx_api import InfluxApi

BARS = "bars"
"""The bucket of the one-minute bars, which are kept for ever."""

TASK = "fair_price_1m"

STORER_TOKEN = "fairprice storer: read and write ticks"  # noqa: S105  its name

_FORMER_NAMES = {STORER_TOKEN: {"fairprice storer: write ticks"}}
"""What tokens were called by earlier releases: those are replaced."""

_V2 = "/api/v2/authorizations"
_V1 = "/private/legacy/authorizations"


Rights = set[tuple[str, str]]
"""Actions and the ids of the buckets they are allowed on."""

Works = Callable[[str], Awaitable[bool]]
"""Tells whether this header gives the rights."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one thing: `made`, `changed` or `unchanged`; `secret` is shown when no file takes it."""

    thing: str
    outcome: str
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the secrets go, each readable by its owner only; None shows a new secret once.

    A user name belongs to one organization of the server.
    """

    grafana_user: str = "grafana"
    storer_token: Path | None = None
    gateway_token: Path | None = None
    grafana_token: Path | None = None
    grafana_password: Path | None = None


async def provision(api: InfluxApi, org: str, ticks: str, retention_hours: int, to: Credentials) -> list[Step]:
    """Bring everything about; `retention_hours` of 0 keeps the ticks for ever.

    A password that is in its file already is taken. A token or password that does not work any more is replaced.
    Raises `StartupError` when the server or a file does not allow it.
    """
    await api.refuse_another_version()
    return await _Provisioning(api, org, await _org_id(api, org), ticks).run(retention_hours, to)


async def _org_id(api: InfluxApi, org: str) -> str:
    found = await api.get("/api/v2/orgs", org=org)
    if not found or not found["orgs"]:
        remedy = "make it, name another in FAIRPRICE_STORE_URL, or use the operator's token"
        raise StartupError(f"InfluxDB shows no organization {org!r}; {remedy}")
    return str(found["orgs"][0]["id"])


@dataclass(frozen=True, slots=True)
class _Provisioning:
    api: InfluxApi
    org: str
    org_id: str
    ticks: str

    async def run(self, retention_hours: int, to: Credentials) -> list[Step]:
        first = await self._bucket(self.ticks, retention_hours * 3600)
        steps = [first, await self._bucket(BARS, 0), await self._task()]
        ticks = await self._bucket_id(self.ticks)
        read = {("read", await self._bucket_id(name)) for name in (self.ticks, BARS)}
        write = {*read, ("write", ticks)}
        steps.append(await self._token(STORER_TOKEN, write, to.storer_token, self._may_read_and_write))
        steps.append(await self._token("fairprice gateway: read", read, to.gateway_token, self._may_read))
        steps.append(await self._token("fairprice grafana: read", read, to.grafana_token, self._may_read))
        steps.append(await self._user(to.grafana_user, read, to.grafana_password))
        return steps

    async def _bucket(self, name: str, seconds: int) -> Step:
        thing = f"bucket {name}, {f'keeps {seconds // 3600} h' if seconds else 'keeps everything'}"
        rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
        found = await self._find_bucket(name)
        if not found:
            await self.api.post("/api/v2/buckets", {"orgID": self.org_id, "name": name, "retentionRules": rules})
            return Step(thing, "made")
        if sum(rule["everySeconds"] for rule in found["retentionRules"]) == seconds:
            return Step(thing, "unchanged")
        change = rules or [{"type": "expire", "everySeconds": 0}]
        await self.api.patch(f"/api/v2/buckets/{found['id']}", {"retentionRules": change})
        return Step(thing, "changed")

    async def _find_bucket(self, name: str) -> Any:
        found = await self.api.get("/api/v2/buckets", orgID=self.org_id, name=name)
        return found["buckets"][0] if found and found["buckets"] else None

    async def _bucket_id(self, name: str) -> str:
        return str((await self._find_bucket(name))["id"])

    async def _task(self) -> Step:
        thing = f"task {TASK}, makes the bars"
        wanted = {"flux": bars_script(self.ticks), "status": "active"}
        found = (await self.api.get("/api/v2/tasks", orgID=self.org_id, name=TASK))["tasks"]
        if not found:
            await self.api.post("/api/v2/tasks", {"orgID": self.org_id, **wanted})
            return Step(thing, "made")
        if all(found[0][key] == value for key, value in wanted.items()):
            return Step(thing, "unchanged")
        await self.api.patch(f"/api/v2/tasks/{found[0]['id']}", wanted)
        return Step(thing, "changed")

    async def _token(self, name: str, rights: Rights, file: Path | None, works: Works) -> Step:
        """See to a token, known by its description; what it is can be read from nowhere but the file."""
        thing = f'token "{name}"'
        names = {name, *_FORMER_NAMES.get(name, ())}
        known = [each for each in await self._authorizations(_V2) if each["description"] in names]
        secret = secret_file.read(file)
        if _is_as_wanted(known, rights) and (not file or (secret and await works(f"Token {secret}"))):
            return Step(thing, "unchanged")
        await self._delete(_V2, known)
        made = await self.api.post(_V2, self._authorization(rights, description=name))
        return _handed_over(thing, bool(known), made["token"], file)

    async def _user(self, user: str, rights: Rights, file: Path | None) -> Step:
        """See to the user name and password for InfluxQL, whose value may be chosen, unlike that of a token."""
        thing = f"InfluxQL user {user}"
        known = [each for each in await self._authorizations(_V1) if each["token"] == user]
        secret = secret_file.read(file)
        if _is_as_wanted(known, rights) and (not file or (secret and await self._may_read(_basic(user, secret)))):
            return Step(thing, "unchanged")
        await self._delete(_V1, known)
        password = secret or token_urlsafe(24)
        name = {"token": user, "description": "fairprice grafana: read"}
        made = await self.api.post(_V1, self._authorization(rights, **name))
        await self.api.post(f"{_V1}/{made['id']}/password", {"password": password})
        return _handed_over(thing, bool(known), password, file)

    async def _authorizations(self, path: str) -> list[Any]:
        found: list[Any] = (await self.api.get(path, orgID=self.org_id))["authorizations"]
        return found

    async def _delete(self, path: str, authorizations: list[Any]) -> None:
        for each in authorizations:
            await self.api.delete(f"{path}/{each['id']}")

    def _authorization(self, rights: Rights, **names: str) -> Mapping[str, object]:
        permissions = [
            {"action": action, "resource": {"type": "buckets", "id": bucket, "orgID": self.org_id}}
            for action, bucket in sorted(rights)
        ]
        return {"orgID": self.org_id, "permissions": permissions, **names}

    async def _may_read_and_write(self, authorization: str) -> bool:
        may_write = await self.api.may_write(self.org, self.ticks, authorization)
        return may_write and await self._may_read(authorization)

    async def _may_read(self, authorization: str) -> bool:
        return all([await self.api.may_read(bucket, authorization) for bucket in (self.ticks, BARS)])


def bars_script(ticks: str) -> str:
    """Return the task that makes bars of the points in the bucket `ticks`."""
    script = files("storer").joinpath(f"{TASK}.flux").read_text()
    return script.replace('"ticks"', json.dumps(ticks)).replace('"bars"', json.dumps(BARS))


def _is_as_wanted(known: list[Any], rights: Rights) -> bool:
    return len(known) == 1 and known[0]["status"] == "active" and _rights(known[0]) == rights


def _rights(authorization: Any) -> Rights:
    return {(each["action"], each["resource"].get("id", "every")) for each in authorization["permissions"]}


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _handed_over(thing: str, existed: bool, secret: str, file: Path | None) -> Step:  # noqa: FBT001
    if file and secret_file.read(file) != secret:
        secret_file.write(file, secret)
    return Step(thing, "changed" if existed else "made", None if file else secret)
