"""The chapters as on other processors than this one, and with other numbers of threads.

oneDNN takes other kernels, with other scratch memory, on each processor; `DNNL_MAX_CPU_ISA` lets it take those of an
older one. What a chapter asserts, and what it prints and a replay compares, has to hold on all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.all_hosts


def replay(**environment: str) -> None:
    """Replay every chapter, training for a few steps, on this machine's own processor unless `environment` differs."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "chapters"]
    settings = os.environ | {"DNNL_MAX_CPU_ISA": "ALL"} | environment
    run = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]


@pytest.mark.parametrize("processor", ["SSE41", "AVX2", "AVX512_CORE"])
def test_every_chapter_replays_on_other_processors(processor):
    replay(DNNL_MAX_CPU_ISA=processor)


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_every_chapter_replays_with_any_number_of_threads(threads):
    replay(OMP_NUM_THREADS=threads)
