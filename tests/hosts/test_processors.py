"""The chapters and the library's tests as on other processors than this one, and with other numbers of threads.

oneDNN takes other kernels, with other scratch memory, on each processor; `DNNL_MAX_CPU_ISA` lets it take those of an
older one. What a chapter or a test asserts, and what a chapter prints and a replay compares, has to hold on all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.all_hosts


def replay_and_test(**environment: str) -> None:
    """Replay every chapter, training for a few steps, and test the library, as on the processor of `environment`.

    Without one, that is this machine's own.
    """
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "chapters", "tests/unit"]
    settings = os.environ | {"DNNL_MAX_CPU_ISA": "ALL"} | environment
    run = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]


@pytest.mark.parametrize("processor", ["SSE41", "AVX2", "AVX512_CORE"])
def test_chapters_and_library_hold_on_other_processors(processor):
    replay_and_test(DNNL_MAX_CPU_ISA=processor)


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_chapters_and_library_hold_with_any_number_of_threads(threads):
    replay_and_test(OMP_NUM_THREADS=threads)
