"""Lets the test modules of this folder import the broker's contract, which is no test module itself."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("broker_contract", "broker_steps")
