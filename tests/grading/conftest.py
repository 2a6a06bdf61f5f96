"""The sandbox, in which alone students' code is run; where it does not work, the run ends with one sentence."""

import pytest

from grader import sandbox


@pytest.fixture(scope="session")
def working_sandbox(end_run):
    try:
        sandbox.check()
    except SystemExit as refusal:
        end_run(str(refusal))
