"""InfluxDB for the tests of processes, private or given."""

import signal

from influx_server import PATIENCE, PrivateServer, is_on_path, named_server

given_database = named_server
is_influxd_on_path = is_on_path


class PrivateDatabase(PrivateServer):
    """An `influxd` of our own that may also be stopped as an administrator does."""

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
