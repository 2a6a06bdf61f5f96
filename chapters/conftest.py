"""The replay of the chapters trains for a few steps only; `make notebooks` and `make test-hosts` train in full."""

import os
from unittest.mock import patch

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    # A kernel takes over the environment when its notebook's first cell is set up.
    with patch.dict(os.environ, COURSE_QUICK="1"):
        return (yield)
