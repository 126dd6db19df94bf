"""Measures the cost of splitting one batch over 1, 2 and 4 devices, and over one and two processes.

    python -m tests.benchmarks.scaling [--config=quickstart] [--layouts=1x1,1x2,1x4,2x1,2x2]

README.md says what is measured, and what is not.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from ageflax import config as configuration
from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files
from ageflax.runtime.progress import say
from tests.benchmarks import machine
from tests.benchmarks.options import CONFIGS, check_config, parsed
from tests.benchmarks.training_step import Ours

_ROOT = Path(__file__).parents[2]


def _child(given: dict[str, Any]) -> None:
    """One process of a layout: joins the others, and times steps on request from standard input."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", given["devices"])
    if given["processes"] > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            given["address"], num_processes=given["processes"], process_id=given["process"]
        )
    words = [f"--config.data.batch_size={given['batch']}", *given["more"]]
    config = configuration.load(str(CONFIGS / f"{given['config']}.py"), words)
    ours = Ours(config, dispatch=given["dispatch"])
    ours.seconds(2)
    print(json.dumps({"devices": len(jax.devices())}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"seconds": ours.seconds(int(line))}), flush=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


class Layout:
    """The processes of one layout, idle between their turns.

    Args:
      processes: number of processes.
      devices: devices per process.
      options: parsed options of the command.
    """

    def __init__(self, processes: int, devices: int, options: argparse.Namespace):
        kept = machine.environment("XLA_FLAGS")
        given = {
            "config": options.config, "batch": options.batch, "dispatch": options.dispatch,
            "more": options.more, "devices": devices, "processes": processes,
            "address": f"localhost:{_free_port()}",
        }  # fmt: skip
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.scaling", "--child", json.dumps({**given, "process": k})],
                cwd=_ROOT, env=kept, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for k in range(processes)
        ]  # fmt: skip
        try:
            self.devices = self._answers()[0]["devices"]
        except RunError:
            self.close()
            raise

    def _answers(self) -> list[dict[str, Any]]:
        found = []
        for process in self._processes:
            assert process.stdout is not None and process.stderr is not None
            # Gloo, the CPUs' collectives, prints a line per connection.
            lines = (line for line in process.stdout if line.startswith("{"))
            line = next(lines, "")
            if not line:
                last = (process.stderr.read().strip().splitlines() or ["the process ended"])[-1]
                raise RunError(last[:300])
            found.append(json.loads(line))
        return found

    def seconds(self, count: int) -> list[float]:
        """Seconds of `count` steps, as the first process saw them."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
        return self._answers()[0]["seconds"]

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate()  # which closes the pipes too


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The same batch in every layout, turn by turn."""
    opened: dict[str, Layout] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, list[float]] = {}
    try:
        for name in options.layouts.split(","):
            processes, devices = map(int, name.split("x"))
            say(f"{name}: starting")
            try:
                opened[name] = Layout(processes, devices, options)
            except RunError as error:
                failed[name] = str(error)
        for turn in range(options.turns):
            for name, layout in opened.items():
                seconds.setdefault(name, []).extend(layout.seconds(options.steps))
            say(f"turn {turn + 1} of {options.turns}")
    finally:
        for layout in opened.values():
            layout.close()
    rates = {name: options.batch / statistics.median(found) for name, found in seconds.items()}
    first = next(iter(rates.values()), None)
    return {
        "config": options.config,
        "batch": options.batch,
        "devices": {name: layout.devices for name, layout in opened.items()},
        "images_per_second": rates,
        "over_first": {name: rate / first for name, rate in rates.items()} if first else {},
        "failed": failed,
        "seconds": seconds,
    }


def markdown(described: dict[str, Any], found: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    lines = ["| processes x devices each | devices | images/s | over the first |"]
    lines.append("| --- | --: | --: | --: |")
    for name, rate in found["images_per_second"].items():
        ratio = found["over_first"][name]
        lines.append(f"| {name} | {found['devices'][name]} | {rate:.3g} | {ratio:.2f} |")
    head = f"{machine.headline(described)}; {found['config']}, one batch of {found['batch']}"
    return "\n".join([head, "", *lines, *(f"{k}: {why}" for k, why in found["failed"].items())])


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    check_config(options.config)
    for name in options.layouts.split(","):
        sizes = name.split("x")
        if len(sizes) != 2 or not all(word.isdigit() and 1 <= int(word) <= 64 for word in sizes):
            raise InputError(f"--layouts: {name!r}: expected PROCESSESxDEVICES, such as 2x1")
        if options.batch % (int(sizes[0]) * int(sizes[1])):
            raise InputError(f"--batch={options.batch} does not divide over the devices of {name}")
    described = machine.describe("tests.benchmarks.scaling", words)
    found = measure(options)
    if options.output:
        files.write_json(options.output, {"machine": described, **found})
    print(markdown(described, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        epilog="--config.KEY=VALUE sets a key of the config, as for ageflax.main.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", default="quickstart", help="a name under configs/")
    parser.add_argument("--batch", type=int, default=64, help="batch size over all devices")
    parser.add_argument("--layouts", default="1x1,1x2,1x4,2x1,2x2", help="PROCESSESxDEVICES,...")
    parser.add_argument("--dispatch", type=int, default=1, help="steps in one dispatch")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="dispatches per turn")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parsed(parser, words)
    if options.child:
        return command_line.run("a process of it", lambda: _child(json.loads(options.child)))
    return command_line.run("tests.benchmarks.scaling", lambda: _run(options, words))


if __name__ == "__main__":
    sys.exit(main())
