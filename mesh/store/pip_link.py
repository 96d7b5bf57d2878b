"""A program of its own: asks pip where a wheel lies, by the user's own settings, and fetches nothing.

`python -m mesh.store.pip_link PACKAGE VERSION` prints one JSON object: `url` (null when the index has no
such wheel) and `cert` (the user's file of certificates, or null). Exit code 4: this pip is of another make.

Why pip's inside: the official question, `pip install --dry-run --report -`, downloads the whole wheel
before it answers (pip 23.2, also from an index that offers metadata apart). Only pip knows its indexes,
link folders, proxies and certificates, so its own finder is asked; a process of its own keeps pip's global
state out of ours. Whoever runs this must have the official question ready for exit code 4.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys

OTHER_PIP = 4


def find(package: str, version: str) -> dict[str, str | None]:
    """Look a wheel up; raises what a pip of another make makes it raise."""
    command = importlib.import_module("pip._internal.commands").create_command("download")
    options, _ = command.parse_args(["--only-binary=:all:", "--no-deps", "--retries=2", package])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        found = finder.find_all_candidates(package)
    wheels = [candidate.link for candidate in found if str(candidate.version) == version]
    url = str(wheels[0].url_without_fragment) if wheels else None
    return {"url": url, "cert": options.cert}


def main() -> int:
    """Answer for the command line's package and version."""
    logging.basicConfig(format="%(message)s", level=logging.DEBUG)  # what pip tried, on standard error
    try:
        answer = find(*sys.argv[1:])
    except (ImportError, AttributeError, TypeError, KeyError) as error:
        sys.stderr.write(f"{error!r}\n")
        return OTHER_PIP
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
