"""A question a line in, an answer a line out: what every script of this folder ends with. Standard library only."""

import json
import os
import sys
import time
from collections.abc import Callable


def answer(**questions: Callable[..., object]) -> None:
    """Answer each line of standard input by the function of that name, and say what it took.

    Whatever else a peer prints goes to standard error: an answer is the only thing on standard output.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        given = json.loads(line)
        asked = questions[given.pop("question")]
        began, cpu = time.perf_counter(), time.process_time()
        found = asked(**given)
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({**took, "found": found}), file=answers, flush=True)
