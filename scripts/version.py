"""The version of Fairprice, one for all of its packages.

python -m scripts.version            prints it; 1 where the packages do not agree
python -m scripts.version 0.2.0      sets it everywhere
python -m scripts.version --tag v0.2.0   1 unless this is the tag of the version
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATTERN = re.compile(r'^((?:version|__version__) = "|.*name: fairprice/\w+, newTag: )([^"}]+)("|}.*)$', re.MULTILINE)
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)\d+)?")


def places(root: Path) -> list[Path]:
    """Return the files that tell the version."""
    packages = ["", "shared", *(f"services/{path.parent.name}" for path in root.glob("services/*/pyproject.toml"))]
    modules = ["shared/src/fairprice/__init__.py", "services/simulator/src/simulator/__init__.py"]
    manifests = sorted(root.glob("deploy/kubernetes/**/kustomization.yaml"))
    images = [path for path in manifests if PATTERN.search(path.read_text())]
    return [
        *(root / package / "pyproject.toml" for package in packages),
        *(root / module for module in modules),
        *images,
    ]


def read(root: Path) -> dict[Path, str]:
    """Return the version that each of the files tells; `ValueError` where one tells none, or several."""
    found = {}
    for path in places(root):
        try:
            [found[path]] = {version for _, version, _ in PATTERN.findall(path.read_text())}
        except ValueError:
            raise ValueError(f"{path} does not tell one version") from None
    return found


def write(root: Path, version: str) -> None:
    """Set the version in all of the files."""
    for path in places(root):
        path.write_text(PATTERN.sub(rf"\g<1>{version}\g<3>", path.read_text()))


def notes(root: Path, version: str) -> str:
    """Return what the changelog says of a version; `ValueError` where it says nothing."""
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    for section in sections[1:]:
        title, _, text = section.partition("\n")
        if title.split()[0] == version and text.strip():
            return text.strip()
    raise ValueError(f"CHANGELOG.md says nothing of {version}")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="version", description="The version of Fairprice.")
    parser.add_argument("version", nargs="?", help="set it, like 0.2.0 or 0.2.0rc1")
    parser.add_argument("--tag", help="fail unless this is the tag of the version, like v0.2.0")
    parser.add_argument("--notes", action="store_true", help="print what the changelog says of it")
    options = parser.parse_args(arguments)
    if options.version:
        if not VERSION.fullmatch(options.version):
            parser.error(f"{options.version!r} is no version like 0.2.0 or 0.2.0rc1")
        write(root, options.version)
    told = read(root)
    if len(set(told.values())) > 1:
        print("\n".join(f"{version}  {path}" for path, version in told.items()), file=sys.stderr)
        return 1
    version = next(iter(told.values()))
    print(notes(root, version) if options.notes else version)
    if options.tag and options.tag != f"v{version}":
        print(f"the tag is {options.tag}, but the version {version}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as problem:
        sys.exit(f"error: {problem}")
