"""The few calls of InfluxDB's HTTP interface that provisioning needs.

https://docs.influxdata.com/influxdb/v2/api/; the calls for v1 users are those of the command `influx v1 auth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from fairprice.errors import StartupError
from fairprice.store_address import InfluxAddress
from storer.influx_version import PERHAPS_3, another_version, named_major


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: Any


class InfluxApi:
    """Speaks to a server as its operator; every call raises `StartupError` that tells a person what to do."""

    def __init__(self, session: aiohttp.ClientSession, address: InfluxAddress, operator_token: str) -> None:
        self._session = session
        self._url = address.url
        self._headers = {"Authorization": f"Token {operator_token}"}

    async def refuse_another_version(self) -> None:
        """Raise `StartupError` where the server says that it is no InfluxDB 2; one that says nothing may be any."""
        reply = await self._request("GET", "/ping", self._headers["Authorization"])
        if named_major(reply.headers) not in {None, 2}:
            raise StartupError(f"InfluxDB at {self._url} {another_version(reply.headers)}")
        if reply.status == 401:
            raise StartupError(f"InfluxDB at {self._url} refuses the token; {PERHAPS_3}")
        if reply.status == 503:
            raise StartupError(f"InfluxDB at {self._url} is still starting; it is up when it answers /ping with 204")

    async def get(self, path: str, **query: str) -> Any:
        """Return the JSON of the reply, None where nothing has that name."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Make something; return the JSON of the reply."""
        return await self._call("POST", path, json=body)

    async def patch(self, path: str, body: Mapping[str, object]) -> None:
        """Change something."""
        await self._call("PATCH", path, json=body)

    async def delete(self, path: str) -> None:
        """Remove something."""
        await self._call("DELETE", path)

    async def may_write(self, org: str, bucket: str, authorization: str) -> bool:
        """Tell whether points may be written with this header."""
        query = {"org": org, "bucket": bucket}
        return (await self._request("POST", "/api/v2/write", authorization, params=query, data=b"")).status == 204

    async def may_read(self, bucket: str, authorization: str) -> bool:
        """Tell whether InfluxQL may be asked with this header; a missing right is an error inside a good reply."""
        query = {"db": bucket, "q": "SHOW MEASUREMENTS LIMIT 1"}
        reply = await self._request("GET", "/query", authorization, params=query)
        return reply.status == 200 and not any("error" in result for result in reply.body["results"])

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        reply = await self._request(method, path, self._headers["Authorization"], **options)
        if reply.status == 404 and method == "GET":
            return None
        if reply.status == 401:
            raise StartupError(f"InfluxDB at {self._url} refuses the token; provision needs the operator's")
        if reply.status >= 400:
            raise StartupError(f"InfluxDB at {self._url} answered {method} {path} with {reply.status}: {reply.body}")
        return reply.body

    async def _request(self, method: str, path: str, authorization: str, **options: Any) -> _Reply:
        try:
            async with self._session.request(
                method, self._url + path, headers={"Authorization": authorization}, **options
            ) as response:
                is_json = "json" in response.content_type
                body = await (response.json() if is_json else response.text())
                return _Reply(response.status, response.headers, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise StartupError(f"InfluxDB at {self._url} cannot be reached: {error}; is it running?") from error
