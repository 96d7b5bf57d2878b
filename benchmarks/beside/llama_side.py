"""llama.cpp's half: RPC servers of one thread each, and its own tools as the client.

Owns the flags. Every layer and the output head lie on the servers (`-ngl 99`, `-ts`); the client looks up the
embeddings and carries the hidden states between the servers, because that is how llama.cpp's RPC works.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.beside.links import Hop, Link, free_address, shaped
from benchmarks.beside.processes import Command, Output, Running, core_of, run_to_end, running
from benchmarks.beside.sample import Sample, Work
from benchmarks.llama_cpp import LlamaCpp
from mesh.errors import InternalError
from mesh.types import Address

_ALL_LAYERS = "99"
_START_S = 20.0
_LOOK_S = 0.05
_LEAST_SHARE = 0.1  # of the seconds of all servers; one that used less has held no layers to speak of


@dataclass(frozen=True, slots=True)
class LlamaSetting:
    """What is run."""

    tools: LlamaCpp
    model: Path
    shares: tuple[int, ...]
    """Layers of each server; the output head counts as one more of the last."""


@dataclass(frozen=True, slots=True)
class LlamaHome:
    """Servers that wait for a client. Made by `llama_home`."""

    setting: LlamaSetting
    servers: tuple[Running, ...]
    doors: tuple[Address, ...]

    async def decode(self, work: Work) -> Sample:
        """Tokens a second of one user, from an empty context."""
        return await self._bench("-p", "0", "-n", str(work.decode_tokens))

    async def prefill(self, work: Work) -> Sample:
        """Prompt tokens a second of one user."""
        return await self._bench("-n", "0", "-p", str(work.prompt_tokens))

    async def users(self, work: Work) -> Sample:
        """Tokens a second of all users together, each with a prompt of its own."""
        before, users = self._server_cpu_s(), work.num_users
        context = users * (work.user_prompt_tokens + work.decode_tokens)
        output = await run_to_end(
            Command(
                "llama-batched-bench",
                (
                    *(str(self.setting.tools.batched_bench), *self._common(), "--rpc", self._servers()),
                    *("-npp", str(work.user_prompt_tokens), "-ntg", str(work.decode_tokens)),
                    *("-npl", str(users), "-c", str(context), "--output-format", "jsonl"),
                ),
            )
        )
        lines = [line for line in output.text.splitlines() if line.startswith("{")]
        if not lines:
            raise InternalError("llama-batched-bench printed no result")
        return self._sample(json.loads(lines[-1])["speed_tg"], output, before)

    async def _bench(self, *what: str) -> Sample:
        before = self._server_cpu_s()
        words = (*self._common(), "-rpc", self._servers(), "-r", "1", "-o", "json", *what)
        output = await run_to_end(Command("llama-bench", (str(self.setting.tools.bench), *words)))
        return self._sample(json.loads(output.text)[0]["avg_ts"], output, before)

    def _common(self) -> Sequence[str]:
        *others, last = self.setting.shares
        split = "/".join(str(share) for share in (*others, last + 1))
        return ("-m", str(self.setting.model), "-t", "1", "-ngl", _ALL_LAYERS, "-ts", split)

    def _servers(self) -> str:
        return ",".join(str(door) for door in self.doors)

    def _server_cpu_s(self) -> list[float]:
        for server in self.servers:
            server.check()
        return [server.cpu_s for server in self.servers]

    def _sample(self, tokens_per_s: float, output: Output, before: Sequence[float]) -> Sample:
        used_s = [after - earlier for after, earlier in zip(self._server_cpu_s(), before, strict=True)]
        if min(used_s) < _LEAST_SHARE * sum(used_s):
            raise InternalError(f"llama.cpp did not split the model: its servers used {used_s} s")
        cpu_s = {server.name: round(one_s, 2) for server, one_s in zip(self.servers, used_s, strict=True)}
        return Sample(tokens_per_s, cpu_s | {"client": round(output.cpu_s, 2)})


@asynccontextmanager
async def llama_home(setting: LlamaSetting, link: Link) -> AsyncIterator[LlamaHome]:
    """Start a server for each share, server i on core i; afterwards none is left."""
    addresses = [free_address() for _ in setting.shares]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(running(_server(setting.tools, index, address)))
            for index, address in enumerate(addresses)
        ]
        for server, address in zip(servers, addresses, strict=True):
            await _until_listening(server, address)
        hops = [Hop("client", server.name, at) for server, at in zip(servers, addresses, strict=True)]
        doors = await stack.enter_async_context(shaped(link, hops))
        yield LlamaHome(setting, tuple(servers), doors)


def _server(tools: LlamaCpp, index: int, address: Address) -> Command:
    words = (str(tools.rpc_server), "-H", address.host, "-p", str(address.port), "-t", "1")
    return Command(f"rpc-server-{index + 1}", words, core=core_of(index))


async def _until_listening(server: Running, address: Address) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while not await _answers(address):
                server.check()
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise InternalError(f"{server.name} does not listen at {address} after {_START_S:g} s") from None


async def _answers(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
