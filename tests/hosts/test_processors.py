"""The chapters on other processors than this one, and with other numbers of threads.

oneDNN takes other kernels, with other scratch memory, on each processor; `DNNL_MAX_CPU_ISA` lets it take those of an
older one. What a chapter asserts, and what it prints and a replay compares, has to hold on all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALL = pytest.mark.all_hosts
EVERY_CHAPTER = "*.ipynb"


def replay(chapters: str, **environment: str) -> None:
    """Replay the chapters whose file names match `chapters`, training for a few steps."""
    notebooks = sorted((ROOT / "chapters").glob(chapters))
    command: list[str | Path] = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *notebooks]
    settings = os.environ | {"COURSE_QUICK": "1"} | environment
    run = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]


@pytest.mark.parametrize("chapters", ["09_measuring_memory.ipynb", "10_memory_efficient_densenet.ipynb"])
def test_what_the_memory_chapters_assert_holds_on_the_oldest_processor(chapters):
    """Memory is what differs most, so `make test` tries these two as SSE41, which hardly a processor stops at today."""
    replay(chapters, DNNL_MAX_CPU_ISA="SSE41")


@ALL
@pytest.mark.parametrize("processor", ["SSE41", "AVX2", "AVX512_CORE"])
def test_every_chapter_replays_on_other_processors(processor):
    replay(EVERY_CHAPTER, DNNL_MAX_CPU_ISA=processor)


@ALL
@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_every_chapter_replays_with_any_number_of_threads(threads):
    replay(EVERY_CHAPTER, OMP_NUM_THREADS=threads)
