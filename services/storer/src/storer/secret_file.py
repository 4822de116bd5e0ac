"""A file that holds one secret and that only its owner may read."""

from pathlib import Path
from secrets import token_hex

from fairprice.errors import StartupError


def read(file: Path | None) -> str | None:
    """Return the secret, None where there is no file or nothing in it; raises `StartupError`."""
    try:
        return (file.read_text().strip() or None) if file and file.exists() else None
    except (OSError, ValueError) as error:
        raise StartupError(f"cannot read {file}: {error}") from error


def write(file: Path, secret: str) -> None:
    """Put the secret into the file at once, or not at all; raises `StartupError`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{token_hex(4)}")
        fresh.touch(0o600, exist_ok=False)
        fresh.write_text(f"{secret}\n")
        fresh.replace(file)
    except OSError as error:
        raise StartupError(f"cannot write {file}: {error.strerror}; name a file that may be written") from error
