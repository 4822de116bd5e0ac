"""The programs as processes: started, watched by their health and log, killed and stopped."""

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import preloaded
from ports import free_port
from waiting import PATIENCE, eventually

AT_ONCE = 100
"""Books that an exchange is asked for at once."""


def spawn(arguments, environ, log):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    with log.open("ab") as errors:
        return preloaded.start(*arguments, environ=clean | environ, piped="stdout", other=errors)


class Service:
    """A service that may be started again and again; its log goes on, its address stays."""

    def __init__(self, name, environ, log):
        self.name = name
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._environ = environ | {"FAIRPRICE_HTTP_PORT": str(port)}
        self._log = log
        self.process = None
        self.start()

    def start(self):
        self.process = spawn([self.name], self._environ, self._log)

    @property
    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        """End it as a power cut does."""
        if self.is_running:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def freeze(self):
        """Let it hold its connections and do nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def megabytes(self):
        """Return the memory that it holds, none where it has just ended."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int((status.partition("VmRSS:")[2].split() or ["0"])[0]) / 1024

    def stop(self):
        """End it as an administrator does."""
        self.ask_to_end()
        self.end_well()

    def ask_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def end_well(self):
        """Wait until what was asked to end has done so, by itself and well."""
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        assert code == 0, self.log_text()[-2000:]

    def get(self, path):
        """Return status and text; the status is 0 while nobody answers."""
        try:
            with urlopen(f"{self.url}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def problems(self):
        """Return what `/readyz` says: what is wrong, in words; None while nobody answers."""
        status, text = self.get("/readyz")
        if not status:
            return None
        problems = json.loads(text)["problems"]
        assert status == (503 if problems else 200)
        return problems

    def until_ready(self, seconds=PATIENCE):
        eventually(lambda: self.problems() == {}, seconds, lambda: f"{self.name}: {self.problems()}")

    def price(self, symbol):
        """Return the newest price that a gateway shows, None if it has none."""
        status, text = self.get(f"/api/prices/{symbol}")
        shown = json.loads(text) if status == 200 else {}
        return shown if "update_id" in shown else None

    def metric(self, name, **labels):
        """Return the sum of a metric's samples that have these labels."""
        _, text = self.get("/metrics")
        pattern = re.compile(rf"^fairprice_{name}(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(float(value) for found, value in pattern.findall(text) if wanted <= set(found.split(",")))

    def log_text(self):
        return self._log.read_text()

    def log_lines(self, *levels):
        """Return the lines of these levels, of all of them if none is named."""
        lines = []
        for line in self.log_text().splitlines():
            with suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return [line for line in lines if not levels or line["level"] in levels]


class Exchange:
    """The simulated exchange."""

    def __init__(self, log, *options):
        self.process = spawn(["simulator", "--port", "0", *options], {}, log)
        self.url = self.process.stdout.readline().split()[1]
        self.environ = {
            "FAIRPRICE_EXCHANGE_REST_URL": self.url,
            "FAIRPRICE_EXCHANGE_STREAM_URL": self.url.replace("http", "ws"),
        }

    def book(self, symbol, update_id, limit=""):
        """Return the true book at an id, of the last ten minutes: so many levels a side, or all."""
        return self._ask(f"book?symbol={symbol}&id={update_id}&limit={limit}")

    def books(self, symbol, ids, limit):
        """Yield the true books at many ids."""
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            found = self.book(symbol, ",".join(map(str, some)), limit)
            yield from found if len(some) > 1 else [found]

    def status(self):
        """Return what it has counted, and how far its markets are."""
        return self._ask("status")

    def _ask(self, path):
        with urlopen(f"{self.url}/__sim/{path}") as answer:
            return json.loads(answer.read())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
