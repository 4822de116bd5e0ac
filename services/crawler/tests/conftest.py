"""What tests of the crawler share."""

import subprocess

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A folder with `certificate.pem` and `key.pem` for this machine and for a name that only proxies resolve."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = "subjectAltName=DNS:localhost,DNS:exchange.hidden.example"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        [*command, "-days", "2", "-subj", "/CN=test", "-addext", names, *files], check=True, capture_output=True
    )
    return folder
