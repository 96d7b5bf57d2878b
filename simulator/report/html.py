"""A run as one page that works offline.

Owns the putting together of the page: `page.html.j2` with `page.css` and `page.js` inside it. The page refers
to nothing outside itself. What is shown is computed by the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simulator.report import charts, words
from simulator.report.choice import kept_devices, kept_links, kept_requests
from simulator.report.story import promised, replay_command, what_mattered
from simulator.report.tables import device_rows, link_rows, matrix, request_rows
from simulator.report.timeline import page_data
from simulator.report.topology import topology
from simulator.result import RunResult

_HERE = Path(__file__).parent

_UNSAFE_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""Inside strings of JSON only, which is the only place where these characters can be: so no text of a run can
end the element that holds the data."""


def write_html(result: RunResult, path: Path | str, again: str | None = None) -> None:
    """Write the page of a run; an existing file is replaced."""
    Path(path).write_text(to_html(result, again), encoding="utf-8")


def to_html(result: RunResult, again: str | None = None) -> str:
    """Return the page of a run: one HTML document without any reference to outside.

    `again` is the command that repeats the run, where scenario and seed are not enough.
    """
    devices = kept_devices(result)
    data = page_data(result, tuple(device.name for device in devices.items))
    complaint = result.complaints[0] if result.complaints else None
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            result=result,
            script=result.script,
            figures=result.figures,
            command=again or replay_command(result),
            promised=[promised(result, each) for each in result.complaints],
            before=what_mattered(result, complaint)[0] if complaint else (),
            topology=topology(result),
            distributions=_distributions(result),
            devices=device_rows(result, devices.items),
            devices_note=devices.note,
            requests=request_rows(kept_requests(result).items),
            requests_note=kept_requests(result).note,
            links=link_rows(kept_links(result).items),
            links_note=kept_links(result).note,
            matrix=matrix(result),
            timeline_notes=data.notes,
            events_note=data.events_note,
            data=_embedded(data.values),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(words=words, charts=charts, style=_source("page.css"), code=_source("page.js"))
    return environment


def _source(name: str) -> Markup:
    """Our own style and script, the only texts besides the data that are not escaped."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _embedded(values: dict[str, object]) -> Markup:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_UNSAFE_IN_SCRIPT))


def _distributions(result: RunResult) -> tuple[charts.Distribution, ...]:
    first = (request.ttft_s for request in result.requests if request.ttft_s is not None)
    return (
        charts.distribution("Time to first token", "request", first),
        charts.distribution("From one token to the next", "gap", _gaps_s(result)),
    )


def _gaps_s(result: RunResult) -> Iterable[float]:
    for request in result.requests:
        times_s = request.token_times_s
        for before_s, after_s in pairwise(times_s):
            yield after_s - before_s
