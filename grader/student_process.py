"""The student's side of the grader: runs in the sandbox, and knows no expected answer.

Reads one step (`grader.schema.Step`) after the other as a line of JSON from standard input; the next comes when the
one before is done. Writes lines of JSON: `["ready"]` once it can begin, for each call of a probe `["answer", answer]`
or, if it fails, `["no answer"]`, for a step that fails as a whole `["error", built-in type of the exception]`, and
after each step `["done", number]`. What cells print is thrown away.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the sandbox does not show that module
    from grader.schema import Step


class Magics:
    """Stands for IPython's shell: a cell may call anything of it, and nothing happens."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def notebook_namespace() -> dict[str, Any]:
    """What cells of a notebook find in a new process, besides Python: the setup cell's device, and IPython's own."""
    import mxnet

    mxnet.npx.set_np()
    nothing = dict.fromkeys(("display", "help"), lambda *_, **__: None)
    return {"__name__": "__main__", "device": mxnet.current_context(), "get_ipython": Magics, **nothing}


def interrupt(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    steps = os.fdopen(os.dup(0))
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

    def send(*message: object) -> None:
        # Answers may be NumPy's or MXNet's numbers.
        print(json.dumps(message, default=lambda number: number.item()), file=lines)

    # MXNet wants it for quantization and sparse arrays alone, does without, and is imported a fifth faster.
    sys.modules["scipy"] = None  # type: ignore[assignment]
    student_namespace = notebook_namespace()
    del sys.modules["scipy"]  # a student may want it

    from grader.fingerprint import fingerprint

    signal.signal(signal.SIGALRM, interrupt)
    send("ready")
    for number, line in enumerate(steps):
        step: Step = json.loads(line)
        try:
            if "probe" in step:
                # A copy, so that no probe can leave anything for the next.
                probe_namespace = dict(student_namespace, fingerprint=fingerprint)
                exec(step["probe"], probe_namespace)
                for arguments in step["inputs"]:
                    try:
                        send("answer", probe_namespace["probe"](*arguments))
                    except BaseException:
                        send("no answer")
            else:
                signal.setitimer(signal.ITIMER_REAL, step.get("seconds", 0))
                exec(step["source"], student_namespace)
        except BaseException as error:
            builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            send("error", builtin.__name__)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        send("done", number)
    os._exit(0)
