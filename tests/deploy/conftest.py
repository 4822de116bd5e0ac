"""Lets these tests share modules."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path += [str(HERE), str(HERE.parent), str(ROOT / "shared" / "tests"), str(ROOT / "services" / "storer" / "tests")]
pytest.register_assert_rewrite("compose_stack", "waiting")
