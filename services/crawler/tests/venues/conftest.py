"""Lets the test modules of this folder import the venue's contract and the venue that is there for tests only."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("venue_contract")
