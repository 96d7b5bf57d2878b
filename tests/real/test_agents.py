"""`mesh up` as processes: found, asked, ended, killed."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

import mesh as mesh_library
from tests.real.processes import agents, mesh, the_line, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

QUESTION = "What is the capital of Japan?"


def test_two_agents_are_listed_one_leaves_one_is_killed(tmp_path: Path) -> None:
    with agents(tmp_path) as running:
        running.up("phone")
        running.up("tv", "--class", "tv")
        assert until(lambda: running.states("phone") == {"phone": "alive", "tv": "alive"}, 8)
        running.signal("tv", signal.SIGTERM)
        assert until(lambda: running.states("phone") == {"phone": "alive"}, 6)
        assert running.running["tv"].wait(5) == 0
        running.up("car", "--class", "car")
        assert until(lambda: running.states("phone") == {"phone": "alive", "car": "alive"}, 8)
        running.signal("car", signal.SIGKILL)
        assert until(lambda: running.states("phone") == {"phone": "alive", "car": "lost"}, 10)
        listed = json.loads(running.ask("devices", "--json").out)
        assert [(device["name"], device["state"]) for device in listed] == [
            ("car", "lost"),
            ("phone", "alive"),
        ]


def test_two_agents_of_one_name_stay_two_and_keep_their_ids(tmp_path: Path) -> None:
    with agents(tmp_path) as running:
        ids = []
        for _ in range(2):
            running.up("tv")
            first = running.running.pop("tv")
            running.up("tv")
            listed: list[dict[str, str]] = []

            def both(listed: list[dict[str, str]] = listed) -> bool:
                listed[:] = json.loads(running.ask("devices", "--json").out)
                return len(listed) == 2

            assert until(both, 10)
            ids.append(sorted(device["node_id"] for device in listed))
            for process in (first, running.running["tv"]):
                process.terminate()
                process.communicate(timeout=5)
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 2


@pytest.mark.model
def test_ask_plan_chat_and_the_client_library(data_dir: Path) -> None:
    with agents(data_dir) as running:
        running.up("phone", "--memory", "300MB")
        answer = running.ask("ask", QUESTION, "--json").json
        assert answer["text"] == "The capital of Japan is Tokyo."
        assert answer["reason"] == "stop"
        assert [device["span"] for device in answer["devices"]] == [[0, 30]]  # type: ignore[attr-defined]
        assert running.ask("ask", QUESTION).out == "The capital of Japan is Tokyo.\n"
        assert running.ask("ask", "-").code == 2
        plan = running.ask("plan", "smollm2:135m", "--json").json
        assert plan["stages"][0]["name"] == "phone"  # type: ignore[index]
        assert running.ask("explain", QUESTION, "--json").json["decision"]["chosen"] == "phone"  # type: ignore[index]
        assert running.ask("explain", QUESTION).out.startswith("phone answers alone")
        talk = running.ask("chat", stdin=f"{QUESTION}\n/new\n{QUESTION}\n/quit\n")
        assert talk.out == "The capital of Japan is Tokyo.\n" * 2
        with mesh_library.connect_blocking(mesh=running.mesh_name) as client:
            blocking = client.chat(QUESTION)
            assert "".join(piece.text for piece in blocking) == "The capital of Japan is Tokyo."
            assert blocking.summary.stages[0].name == "phone"
            with pytest.raises(mesh_library.MeshError, match="`mesh models` lists"):
                client.chat(QUESTION, model="nope").text()


def test_a_fixed_peer_is_found_where_there_is_no_multicast(tmp_path: Path) -> None:
    with agents(tmp_path) as running, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        running.up("phone", "--listen", f"127.0.0.1:{port}")
        listed = mesh("devices", "--mesh", running.mesh_name, "--peer", f"127.0.0.1:{port}", "--json")
        assert [device["name"] for device in json.loads(listed.out)] == ["phone"]


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = the_line(mesh("up", "--listen", address, "--data-dir", str(tmp_path)), 1)
        assert line == f"mesh: another program listens on {address}; choose another port"


def test_another_program_on_the_peers_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        line = the_line(mesh("devices", "--peer", address), 1)
        assert line == f"mesh: {address} did not answer within 3 s; does an agent run there?"


def test_listening_beyond_this_machine_says_what_that_means(tmp_path: Path) -> None:
    # 127.0.0.2 is loopback; a name that is not there fails after the warning, without listening anywhere.
    finished = mesh("up", "--listen", "no.such.host.invalid:0", "--data-dir", str(tmp_path))
    assert finished.code == 2
    assert "without pairing or encryption" in finished.err.splitlines()[0]
    assert "no such host" in finished.err.splitlines()[1]


def test_a_frozen_agent_does_not_keep_a_client_from_the_others(tmp_path: Path) -> None:
    with agents(tmp_path) as running:
        for name in ("phone", "tv", "car"):
            running.up(name)
        everybody = {"phone": "alive", "tv": "alive", "car": "alive"}
        assert until(lambda: running.states("car") == everybody, 8)
        for name in ("phone", "tv"):
            running.signal(name, signal.SIGSTOP)
        frozen = {"phone": "lost", "tv": "lost", "car": "alive"}
        assert until(lambda: running.states("car") == frozen, 12)
        listed = json.loads(running.ask("devices", "--json").out)
        assert {device["name"]: device["state"] for device in listed} == frozen
        for name in ("phone", "tv"):
            running.signal(name, signal.SIGCONT)
        assert until(lambda: running.states("car") == everybody, 15)
