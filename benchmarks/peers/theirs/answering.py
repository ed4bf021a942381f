"""Answers questions: each is a line of JSON on standard input. Every script of this folder ends with `answer(...)`.

It imports only the standard library.
"""

import json
import os
import sys
import time
from collections.abc import Callable


def answer(**questions: Callable[..., object]) -> None:
    """Call the function that each line names, and print its result with its time and CPU seconds.

    Everything else that a peer prints goes to standard error, so that standard output holds only answers.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        arguments = json.loads(line)
        function = questions[arguments.pop("question")]
        began, cpu = time.perf_counter(), time.process_time()
        result = function(**arguments)
        cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({**cost, "result": result}), file=answers, flush=True)
