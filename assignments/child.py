"""The student's side of the grader: runs in the sandbox, and knows no expected answer.

Reads a task from standard input: `cells`, sources to run in order, and `questions`, each with the source of a `probe`
and its `inputs`. Writes a JSON line before each step, `["start", number]`, and for each question its answers,
`["answers", number, answers]`, or `["error", number, text]`. Whatever the student's code prints is thrown away.
"""

import json
import os
import sys


def main() -> None:
    task = json.load(sys.stdin)
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

    import mxnet

    from assignments.probes import answer_of

    mxnet.npx.set_np()
    space = {"__name__": "__main__"}
    steps = [("cell", source) for source in task["cells"]] + [("question", question) for question in task["questions"]]
    for number, (kind, step) in enumerate(steps):
        print(json.dumps(["start", number]), file=lines)
        try:
            if kind == "cell":
                exec(step, space)
            else:
                asked = {**space, "answer_of": answer_of}
                exec(step["probe"], asked)
                print(
                    json.dumps(["answers", number, [asked["probe"](*inputs) for inputs in step["inputs"]]]), file=lines
                )
        except BaseException as error:
            print(json.dumps(["error", number, f"{type(error).__name__}: {error}"[:500]]), file=lines)
    print(json.dumps(["end"]), file=lines)
    os._exit(0)


if __name__ == "__main__":
    main()
