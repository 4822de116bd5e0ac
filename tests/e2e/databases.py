"""InfluxDB for the tests of processes, private or given."""

import signal

from influx_server import PrivateServer, is_on_path, named_server
from rabbitmq_nodes import free_port

given_database = named_server
is_influxd_on_path = is_on_path


class PrivateDatabase(PrivateServer):
    """An `influxd` of our own that may also be stopped as an administrator does."""

    def start(self):
        if not self._process:  # a port that no outgoing connection is given while the server is away
            self._port = free_port()
            self.url = f"http://127.0.0.1:{self._port}"
        super().start()

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
