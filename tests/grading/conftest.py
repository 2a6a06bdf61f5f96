"""The sandbox, in which alone students' code is run; where it does not work, the run ends with one sentence."""

import pytest

from grader import sandbox


@pytest.fixture(scope="session")
def working_sandbox(request):
    try:
        sandbox.check()
    except SystemExit as refusal:
        # Not pytest.exit, at which pytest-xdist trips.
        request.session.shouldstop = str(refusal)
        pytest.fail(str(refusal), pytrace=False)
