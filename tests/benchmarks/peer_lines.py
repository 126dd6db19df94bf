"""The other end of `peer.Peer`, for scripts of Pythons that do not have this project."""

import json
import sys
from collections.abc import Callable
from typing import Any

Seconds = Callable[[int], list[float]]


def serve(opened: Callable[..., Seconds], **told_first: str) -> None:
    """Answers lines of JSON until there are no more: {"open": {...}}, then any number of {"time": count}.

    Args:
      opened: function of the content of "open"; returns a function from a count to the seconds of each step.
      **told_first: answer to "open".
    """
    seconds = None
    for line in sys.stdin:
        told = json.loads(line)
        try:
            if "open" in told:
                seconds = opened(**told["open"])
                answer: dict[str, Any] = told_first
            else:
                assert seconds is not None
                answer = {"seconds": seconds(told["time"])}
        except Exception as error:  # whatever it is, the benchmark reports it
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)
