"""An answer outlives its gateway: what the next one is asked, and what the app sees of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mesh.client import Answer
from mesh.errors import (
    Busy,
    DeadlineExceeded,
    ModelNotPulled,
    NodeLeaving,
    PeerUnreachable,
    StageLost,
)
from mesh.logic.session import EPOCHS_A_GATEWAY
from mesh.messages import ChatFinished, Piece, RequestFailed, Routed, Started
from mesh.types import FinishReason, Plan, Precision, Recovery, SessionId, Summary
from simulator.library import TINY
from simulator.loop import run
from tests.scripted import Die, HangUp, Silence, Step, Wait, a_mesh, a_record

SESSION = SessionId("5" * 16)
PLAN = Plan(TINY.ref, Precision.INT4, 1024, ())
NEXT_PLAN = Plan(TINY.ref, Precision.INT4, 2048, ())
OTHERS = (a_record("phone"), a_record("car"))
ROUTED = Routed(1, SESSION, 0, PLAN, OTHERS)
GOES_ON = Routed(1, SESSION, 1, NEXT_PLAN, (a_record("car"), a_record("hub")))
SUMMARY = Summary("tiny", FinishReason.STOP, (1, 2, 3), 5, 7, 0.5, 10.0)
FINISHED = ChatFinished(1, SUMMARY)
TO, KYO = Piece(1, "To", (1,)), Piece(1, "kyo", (2, 3))
LEAVING = RequestFailed(1, NodeLeaving.code, "tv is about to leave; ask another device")
REST: tuple[Step, ...] = (GOES_ON, KYO, FINISHED)


def script(*steps: Step) -> tuple[Step, ...]:
    return steps


def rounded(*recoveries: Recovery) -> tuple[Recovery, ...]:
    """Without the picoseconds that the virtual network takes."""
    return tuple(replace(r, detect_s=round(r.detect_s, 6), stall_s=round(r.stall_s, 6)) for r in recoveries)


async def listen(answer: Answer) -> list[Routed | Piece]:
    return [event async for event in answer.events()]


def text_of(events: list[Routed | Piece]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


def tokens_of(events: list[Routed | Piece]) -> list[int]:
    return [token for event in events if isinstance(event, Piece) for token in event.tokens]


def test_routes_and_pieces_come_as_they_are_said() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, KYO, FINISHED]]) as mesh:
            answer = mesh.client().chat("?")
            assert await listen(answer) == [ROUTED, TO, KYO]
            assert answer.route == PLAN
            assert answer.summary == SUMMARY
            assert not answer.recoveries

    run(main())


def test_an_answer_goes_on_at_another_gateway_without_a_seam() -> None:
    async def main() -> None:
        tv = script(ROUTED, TO, Wait(0.25), Die())
        async with a_mesh(tv=[tv], phone=[[GOES_ON, Wait(0.5), KYO, FINISHED]]) as mesh:
            answer = mesh.client().chat("?", seed=9, temperature=0.5, max_tokens=40, deadline_s=10.0)
            events = await listen(answer)
            assert (text_of(events), tokens_of(events)) == ("Tokyo", [1, 2, 3])
            (first,), (second,) = mesh["tv"].chats, mesh["phone"].chats
            assert second.started == Started(SESSION, 0, PLAN, (1,))
            assert (second.sampling, second.messages) == (first.sampling, first.messages)
            assert (second.max_tokens, second.sampling.seed) == (40, 9)
            assert first.deadline_s == 10.0
            assert second.deadline_s == pytest.approx(9.75)
            recovery = Recovery(("tv",), ("phone",), 0.25, 0.75, 0, 0)
            assert rounded(*answer.recoveries) == (recovery,)
            assert answer.summary.recoveries == answer.recoveries
            assert answer.route == NEXT_PLAN
            # The route is shown with the whole pause, before the piece after it.
            assert events == [ROUTED, TO, replace(GOES_ON, recovery=answer.recoveries[0]), KYO]

    run(main())


def test_the_summary_is_about_the_whole_answer() -> None:
    async def main() -> None:
        tv = script(ROUTED, Wait(0.25), TO, Wait(0.25), Die())
        async with a_mesh(tv=[tv], phone=[[GOES_ON, Wait(0.5), KYO, FINISHED]]) as mesh:
            answer = mesh.client().chat("?")
            await answer.text()
            assert answer.summary.tokens == (1, 2, 3)
            assert answer.summary.ttft_s == pytest.approx(0.25)
            assert answer.summary.tokens_per_s == pytest.approx(2 / 0.75)

    run(main())


def test_death_before_the_first_piece_goes_on_with_no_tokens() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, Die()]], phone=[[GOES_ON, TO, KYO, FINISHED]]) as mesh:
            answer = mesh.client().chat("?")
            assert await answer.text() == "Tokyo"
            assert mesh["phone"].chats[0].started == Started(SESSION, 0, PLAN, ())
            assert [r.lost for r in answer.recoveries] == [("tv",)]

    run(main())


def test_death_before_the_route_is_known_asks_anew_at_a_gateway_that_was_given() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[Die()]], phone=[[ROUTED, TO, KYO, FINISHED]]) as mesh:
            client = mesh.client(ways=[mesh.way("tv"), mesh.way("phone")])
            assert await client.chat("?").text() == "Tokyo"
            assert [chat.started for chat in mesh["phone"].chats] == [None]

    run(main())


def test_a_gateway_that_does_not_answer_at_all_is_passed_over() -> None:
    async def main() -> None:
        async with a_mesh(phone=[[ROUTED, TO, KYO, FINISHED]]) as mesh:
            client = mesh.client("tv", ways=[mesh.way("phone")])
            answer = client.chat("?")
            assert await answer.text() == "Tokyo"
            assert client.gateway == a_record("phone")
            assert [(r.lost, r.replacement) for r in answer.recoveries] == [(("tv",), ("phone",))]

    run(main())


def test_only_tokens_of_pieces_count_where_a_character_was_cut() -> None:
    """Token 2 begins a character that only token 3 completes: it was never shown, so it is made again."""

    async def main() -> None:
        cafe = script(ROUTED, Piece(1, "caf", (1,)), Die())  # it had drawn token 2, and died with it
        async with a_mesh(tv=[cafe], phone=[[GOES_ON, Piece(1, "é", (2, 3)), FINISHED]]) as mesh:
            events = await listen(mesh.client().chat("?"))
            started = mesh["phone"].chats[0].started
            assert started is not None
            assert started.tokens == (1,)
            assert (text_of(events), tokens_of(events)) == ("café", [1, 2, 3])

    run(main())


def test_a_silent_gateway_is_noticed_within_a_second() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, Silence(60)]], phone=[REST]) as mesh:
            answer = mesh.client().chat("?")
            events = await listen(answer)
            assert (text_of(events), tokens_of(events)) == ("Tokyo", [1, 2, 3])
            (recovery,) = answer.recoveries
            assert recovery.detect_s == pytest.approx(0.9)
            assert recovery.stall_s == pytest.approx(0.9)

    run(main())


def test_a_gateway_without_power_is_noticed_and_another_one_without_power_passed_over() -> None:
    async def main() -> None:
        slow = script(ROUTED, TO, Wait(60))
        async with a_mesh(tv=[slow], phone=[REST], car=[REST]) as mesh:
            answer = mesh.client().chat("?")
            events = answer.events()
            await anext(events)
            await anext(events)
            mesh.network.host("10.0.0.1").is_on = False  # nobody is told
            mesh.network.host("10.0.0.2").is_on = False
            rest = [event async for event in events]
            assert text_of(rest) == "kyo"
            assert mesh["phone"].chats == []
            # The phone's own dial has not failed by then.
            assert answer.recoveries[0].stall_s == pytest.approx(0.9 + 0.3)

    run(main())


def test_a_gateway_that_answers_heartbeats_has_all_the_time() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, Wait(20), KYO, FINISHED]], phone=[REST]) as mesh:
            answer = mesh.client().chat("?")
            assert await answer.text() == "Tokyo"
            assert mesh["phone"].asked == []
            assert mesh["tv"].num_heartbeats > 10
            assert answer.recoveries == ()

    run(main())


def test_after_a_turn_silence_is_borne_for_longer() -> None:
    async def main() -> None:
        phone = script(GOES_ON, Silence(1.7), KYO, FINISHED)
        async with a_mesh(tv=[[ROUTED, TO, Silence(60)]], phone=[phone], car=[REST]) as mesh:
            assert await mesh.client().chat("?").text() == "Tokyo"
            assert mesh["car"].asked == []

    run(main())


def test_where_nobody_else_answers_a_silent_gateway_gets_the_usual_time() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, Silence(4), KYO, FINISHED]]) as mesh:
            answer = mesh.client().chat("?")
            assert await answer.text() == "Tokyo"
            assert answer.recoveries == ()
        async with a_mesh(tv=[[ROUTED, TO, Silence(60)]]) as mesh:
            with pytest.raises(PeerUnreachable, match="tv fell silent in the middle of the request, and no "):
                await mesh.client().chat("?").text()
            assert asyncio.get_running_loop().time() < 20

    run(main())


def test_a_second_death_is_survived_too() -> None:
    async def main() -> None:
        tv = script(ROUTED, TO, Die())
        phone = script(GOES_ON, Piece(1, "k", (2,)), Wait(0.5), Die())
        car = script(Routed(1, SESSION, 2, PLAN, ()), Piece(1, "yo", (3,)), FINISHED)
        async with a_mesh(tv=[tv], phone=[phone], car=[car]) as mesh:
            answer = mesh.client().chat("?")
            events = await listen(answer)
            assert (text_of(events), tokens_of(events)) == ("Tokyo", [1, 2, 3])
            assert mesh["car"].chats[0].started == Started(SESSION, EPOCHS_A_GATEWAY, NEXT_PLAN, (1, 2))
            assert [(r.lost, r.replacement) for r in answer.recoveries] == [
                (("tv",), ("phone",)),
                (("phone",), ("car",)),
            ]

    run(main())


def test_two_deaths_in_one_pause_are_one_recovery() -> None:
    async def main() -> None:
        tv = script(ROUTED, TO, Wait(0.25), Die())
        phone = script(GOES_ON, Wait(0.5), Die())
        car = script(Routed(1, SESSION, 2, PLAN, ()), KYO, FINISHED)
        async with a_mesh(tv=[tv], phone=[phone], car=[car]) as mesh:
            answer = mesh.client().chat("?")
            events = await listen(answer)
            assert tokens_of(events) == [1, 2, 3]
            assert mesh["car"].chats[0].started == Started(SESSION, EPOCHS_A_GATEWAY, NEXT_PLAN, (1,))
            assert rounded(*answer.recoveries) == (Recovery(("tv", "phone"), ("car",), 0.25, 0.75, 0, 0),)
            assert sum(isinstance(event, Routed) for event in events) == 2

    run(main())


def test_a_device_lost_as_gateway_and_as_stage_is_lost_once() -> None:
    async def main() -> None:
        told = Recovery(("tv",), ("car",), 0.01, 0.02, 17, 0)
        goes_on = Routed(1, SESSION, 1, NEXT_PLAN, (), told)
        summary = ChatFinished(1, Summary("tiny", FinishReason.STOP, (1, 2, 3), 5, 7, 0.5, 9, (), (told,)))
        tv = script(ROUTED, TO, Wait(0.25), Die())
        async with a_mesh(tv=[tv], phone=[[goes_on, Wait(0.5), KYO, summary]]) as mesh:
            answer = mesh.client().chat("?")
            await answer.text()
            recovery = Recovery(("tv",), ("car",), 0.25, 0.75, 17, 0)
            assert rounded(*answer.recoveries) == (recovery,)
            assert answer.summary.recoveries == answer.recoveries

    run(main())


def test_when_all_are_dead_the_error_comes_last_and_names_them() -> None:
    async def main() -> None:
        tv, phone = script(ROUTED, TO, Die()), script(GOES_ON, KYO, Die())
        async with a_mesh(tv=[tv], phone=[phone]) as mesh:
            seen: list[Routed | Piece] = []
            text = r"^phone went away in the middle of the request, and no other gateway answered \(tried "
            with pytest.raises(PeerUnreachable, match=text + r"car, hub, .*\); ask again$"):  # noqa: PT012
                async for event in mesh.client(ways=[mesh.way("tv")]).chat("?").events():
                    seen.append(event)  # noqa: PERF401
            assert tokens_of(seen) == [1, 2, 3]

    run(main())


def test_a_gateway_about_to_leave_hands_its_clients_on_at_once() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[LEAVING]], phone=[[ROUTED, TO, KYO, FINISHED]]) as mesh:
            client = mesh.client(ways=[mesh.way("tv"), mesh.way("phone")])
            assert await client.chat("?").text() == "Tokyo"
            assert len(mesh["tv"].chats) == 1  # it is not asked again, though it answers
            assert mesh["phone"].asked_at_s == pytest.approx([0.0], abs=1e-6)
            assert await client.chat("again?").text() == "Tokyo"
            assert len(mesh["tv"].chats) == 1  # nor by the next request

    run(main())


def test_a_gateway_about_to_leave_that_is_the_only_one_says_so() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[LEAVING]]) as mesh:
            with pytest.raises(NodeLeaving, match="tv is about to leave"):
                await mesh.client().chat("?").text()
            assert len(mesh["tv"].chats) == 1

    run(main())


def test_another_gateway_that_has_not_the_model_is_passed_over() -> None:
    async def main() -> None:
        nameless = RequestFailed(1, ModelNotPulled.code, "phone has another file of tiny")
        async with a_mesh(tv=[[ROUTED, TO, Die()]], phone=[[nameless]], car=[REST]) as mesh:
            assert await mesh.client().chat("?").text() == "Tokyo"
            assert len(mesh["phone"].chats) == 1

    run(main())


def test_where_the_gateway_that_is_asked_has_not_the_model_its_owner_is_told() -> None:
    async def main() -> None:
        failed = RequestFailed(1, ModelNotPulled.code, "pull it")
        async with a_mesh(tv=[[failed]], phone=[REST]) as mesh:
            with pytest.raises(ModelNotPulled, match="pull it"):
                await mesh.client().chat("?").text()
            assert mesh["phone"].asked == []

    run(main())


@pytest.mark.parametrize("error", [Busy, StageLost, DeadlineExceeded])
def test_other_failures_are_final(error: type[Busy | StageLost | DeadlineExceeded]) -> None:
    async def main() -> None:
        failed = RequestFailed(1, error.code, "so it is")
        async with a_mesh(tv=[[ROUTED, TO, failed]], phone=[REST]) as mesh:
            with pytest.raises(error, match="so it is"):
                await mesh.client().chat("?").text()
            assert mesh["phone"].asked == []

    run(main())


def test_a_broken_link_to_a_gateway_that_lives_is_dialled_again_where_nobody_else_is() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, HangUp()], REST]) as mesh:
            answer = mesh.client().chat("?")
            events = await listen(answer)
            assert (text_of(events), tokens_of(events)) == ("Tokyo", [1, 2, 3])
            assert [(r.lost, r.replacement) for r in answer.recoveries] == [(("tv",), ("tv",))]
        async with a_mesh(tv=[[ROUTED, TO, HangUp()], [HangUp()]]) as mesh:  # but not for ever
            with pytest.raises(PeerUnreachable, match="tv went away"):
                await mesh.client().chat("?").text()
            assert len(mesh["tv"].chats) == 2

    run(main())


def test_no_time_left_for_another_gateway_is_a_deadline_exceeded() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, Wait(0.5), Die()]]) as mesh:
            await mesh.add("phone", REST)
            mesh.network.host("10.0.0.2").is_on = False
            with pytest.raises(DeadlineExceeded, match="not ready within 1 s"):
                await mesh.client().chat("?", deadline_s=1.0).text()
            assert asyncio.get_running_loop().time() == 1.0

    run(main())


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_an_answer_given_up_after_a_turn_closes_the_link_that_is_current(how: str) -> None:
    async def main() -> None:
        phone = script(GOES_ON, KYO, Wait(60))
        async with a_mesh(tv=[[ROUTED, TO, Silence(60)]], phone=[phone]) as mesh:
            events = mesh.client().chat("?").events()
            for _ in range(4):
                await anext(events)
            assert (mesh["tv"].num_open, mesh["phone"].num_open) == (1, 1)  # tv's hears nothing of it yet
            if how == "closed":
                await events.aclose()
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await anext(events)
            await asyncio.sleep(0.1)
            assert mesh["phone"].num_open == 0

    run(main())


def test_cancelled_while_it_looks_for_another_gateway_it_leaves_no_link() -> None:
    async def main() -> None:
        async with a_mesh(tv=[[ROUTED, TO, Silence(60)]], phone=[REST]) as mesh:
            mesh.network.host("10.0.0.2").is_on = False
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await mesh.client().chat("?").text()
            mesh.network.plug_in("10.0.0.2")
            await asyncio.sleep(5)
            assert mesh["phone"].num_open == 0

    run(main())


def test_two_answers_at_once_turn_without_getting_in_each_other_s_way() -> None:
    async def main() -> None:
        tv = script(ROUTED, TO, Wait(0.5), Die())
        async with a_mesh(tv=[tv], phone=[REST]) as mesh:
            client = mesh.client()
            async with asyncio.TaskGroup() as tasks:
                answers = [tasks.create_task(client.chat("?").text()) for _ in range(2)]
            assert [answer.result() for answer in answers] == ["Tokyo", "Tokyo"]
            assert len(mesh["phone"].chats) == 2

    run(main())
