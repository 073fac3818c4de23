import asyncio
from typing import Any

import pytest
from conftest import Answer, Service, until

from interview_agent import CandidateMissing, Conflict, Interview, MetadataError, Scorecard, accept_request
from interview_agent.worker import on_session_end, setup

COMPLETED = {"outcome": "completed", "summary": None, "result": None}


def outcomes(service: Service) -> list[str]:
    return [request.body["outcome"] for request in service.calls("complete")]


async def test_leaving_the_block_completes(job: Any, service: Service) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        assert interview.metadata.max_duration == 1800
        assert job.room.local_participant.attributes == {"interview.outcome": "pending"}
    assert service.calls("complete")[0].body == {"roomName": job.room.name, **COMPLETED}
    assert job.room.local_participant.attributes == {"interview.outcome": "completed"}
    assert job.is_shut_down


async def test_an_exception_fails(job: Any, service: Service) -> None:
    job.room.join()
    with pytest.raises(ZeroDivisionError):
        async with Interview.join(job, service=service.url, key="k"):
            raise ZeroDivisionError
    assert service.calls("complete")[0].body["summary"] == "The agent raised ZeroDivisionError."
    assert job.room.local_participant.attributes == {"interview.outcome": "failed"}


async def test_a_cancelled_agent_reports_nothing_and_keeps_the_lines(job: Any, service: Service) -> None:
    job.room.join()

    async def interviewing() -> None:
        async with Interview.join(job, service=service.url, key="k") as interview:
            interview.say_line("agent", "Hello")
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.ensure_future(interviewing())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes(service) == []
    assert job.room.local_participant.attributes == {"interview.outcome": "pending"}
    assert service.calls("transcript")[0].body["lines"][0]["text"] == "Hello"


async def test_a_room_that_is_gone_reports_nothing(job: Any, service: Service) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k"):
        job.room.close()
    with pytest.raises(ZeroDivisionError):
        async with Interview.join(job, service=service.url, key="k"):
            raise ZeroDivisionError
    assert outcomes(service) == []


@pytest.mark.parametrize(
    ("asked", "reason", "expected"),
    [(True, 1, ["completed"]), (True, 2, []), (False, 1, []), (False, 2, [])],
    ids=["left after the last question", "lost after it", "left before it", "lost before it"],
)
async def test_a_candidate_that_left_completes_only_after_the_last_question(
    job: Any, service: Service, asked: bool, reason: int, expected: list[str]
) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        if asked:
            interview.last_question_asked()
        job.room.leave(reason=reason)
    assert outcomes(service) == expected


async def test_complete_reports_at_once_and_only_once(job: Any, service: Service) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        await interview.complete(summary="good", result=Scorecard("en"))
        assert job.room.local_participant.attributes == {"interview.outcome": "completed"}
        job.room.close()
    [request] = service.calls("complete")
    assert request.body["summary"] == "good"
    assert request.body["result"]["schema"] == "interview.scorecard/1"


async def test_a_refused_report_sets_no_attribute(job: Any, service: Service) -> None:
    service.answers["complete"] = [Answer(409, {"code": "not_started", "detail": "Not yet."})]
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        with pytest.raises(Conflict):
            await interview.complete()
        assert job.room.local_participant.attributes == {"interview.outcome": "pending"}


async def test_a_report_that_could_not_be_sent_is_sent_when_the_session_ends(
    job: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interview_agent.interview.IN_ROOM_RETRY", 0)
    service.answers["complete"] = [Answer(503), Answer()]
    service.answers["transcript"] = [Answer(503), Answer()]
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        interview.say_line("agent", "Goodbye")
        await interview.complete(summary="good")
        assert job.room.local_participant.attributes == {"interview.outcome": "completed"}
    await on_session_end(job)
    assert [request.body["summary"] for request in service.calls("complete")] == ["good", "good"]
    assert len(service.calls("transcript")) == 2
    await on_session_end(job)
    assert len(service.requests) == 6


async def test_lines_are_sent_while_the_interview_goes_on(job: Any, service: Service) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        first = interview.say_line("agent", "How are you?")
        second = interview.say_line("candidate", "Well")
        await until(lambda: service.calls("transcript"))
        [request] = service.calls("transcript")
        assert [line["id"] for line in request.body["lines"]] == [first, second]
        assert request.body["agent"] == "agent-1"


async def test_refused_lines_are_logged(job: Any, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.answers["transcript"] = [Answer(410, {"code": "erased", "detail": "Erased."})]
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        interview.say_line("agent", "How are you?")
    assert "1 lines were not stored: 410 erased" in caplog.text


async def test_an_unreadable_line_costs_only_its_own_call(job: Any, service: Service) -> None:
    service.answers["transcript"] = [Answer(422, {"code": "payload_invalid", "detail": "No."}), Answer()]
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        interview.say_line("agent", "\x00")
        await until(lambda: service.calls("transcript"))
        interview.say_line("agent", "How are you?")
    assert [line["text"] for line in service.calls("transcript")[1].body["lines"]] == ["How are you?"]


async def test_a_long_text_becomes_several_lines(job: Any, service: Service) -> None:
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        first = interview.say_line("candidate", "a" * 4000 + "b")
        with pytest.raises(ValueError, match="needs a text"):
            interview.say_line("candidate", " ")
    [request] = service.calls("transcript")
    assert [(line["id"], len(line["text"])) for line in request.body["lines"]] == [(first, 4000), (f"{first}-1", 1)]


async def test_a_checkpoint_is_numbered_and_resumed(job: Any, service: Service) -> None:
    service.answers["checkpoint"] = [
        Answer(body={"agent": "agent-0", "sequence": 7, "state": {"question": 3}}),
        Answer(204, ""),
    ]
    job.room.join()
    async with Interview.join(job, service=service.url, key="k") as interview:
        assert interview.saved_state == {"question": 3}
        await interview.checkpoint({"question": 4})
        await interview.checkpoint({"question": 5})
    bodies = [request.body for request in service.calls("checkpoint")[1:]]
    assert [(body["agent"], body["sequence"], body["state"]) for body in bodies] == [
        ("agent-1", 1, {"question": 4}),
        ("agent-1", 2, {"question": 5}),
    ]


async def test_an_observer_that_came_first_is_passed_over(job: Any, service: Service) -> None:
    job.room.join("observer-1", interviewId="another")
    job.room.join("candidate-9", interviewId="another")
    job.room.join("candidate-agent", kind=4)
    asyncio.get_running_loop().call_later(0.05, job.room.join)
    async with Interview.join(job, service=service.url, key="k") as interview:
        assert interview.candidate_identity == "candidate-1"


async def test_a_candidate_whose_metadata_cannot_be_read_is_named(job: Any, service: Service) -> None:
    job.room.join(maxDuration="long")
    with pytest.raises(MetadataError):
        async with Interview.join(job, service=service.url, key="k"):
            pass
    assert job.is_shut_down
    assert job.room.local_participant.attributes == {"interview.outcome": "pending"}


async def test_nobody_came(job: Any, service: Service) -> None:
    with pytest.raises(CandidateMissing, match=r"did not come within 0\.01 seconds"):
        async with Interview.join(job, service=service.url, key="k", candidate_wait=0.01):
            pass


async def test_the_room_closed_before_anybody_came(job: Any, service: Service) -> None:
    asyncio.get_running_loop().call_soon(job.room.close)
    with pytest.raises(CandidateMissing, match="closed"):
        async with Interview.join(job, service=service.url, key="k"):
            pass


async def test_another_room_is_refused(job: Any, service: Service) -> None:
    job.room.name = "lobby"
    with pytest.raises(CandidateMissing, match="lobby"):
        async with Interview.join(job, service=service.url, key="k"):
            pass


async def test_time_left_is_the_least_that_is_known(job: Any, service: Service) -> None:
    service.answers["context"] = [Answer(body={"context": None, "secondsLeft": 900})]
    candidate = job.room.join()
    marks: list[float] = []

    async def on_time(seconds: float) -> None:
        marks.append(seconds)

    async with Interview.join(job, service=service.url, key="k") as interview:
        assert 890 < interview.time_left <= 900
        interview.on_time(on_time)
        await asyncio.sleep(0)
        job.room.announce(10, sender=candidate)
        assert interview.time_left > 890
        job.room.announce(300)
        await until(lambda: marks == [300])


async def test_the_handler_is_called_when_the_candidate_is_back(job: Any, service: Service) -> None:
    job.room.join()
    back = asyncio.Event()

    async def on_return() -> None:
        back.set()

    async with Interview.join(job, service=service.url, key="k") as interview:
        interview.on_return(on_return)
        await asyncio.sleep(0)
        job.room.leave()
        assert not interview.is_candidate_connected
        job.room.join()
        await back.wait()
        assert interview.is_candidate_connected


async def test_a_handlers_exception_is_logged(job: Any, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.answers["context"] = [Answer(body={"context": None, "secondsLeft": 1})]
    job.room.join()

    async def on_time(seconds: float) -> None:
        raise ZeroDivisionError

    async with Interview.join(job, service=service.url, key="k") as interview:
        interview.on_time(on_time)
        await until(lambda: "a handler of the interview raised" in caplog.text)


async def test_the_processs_client_is_used(job: Any, service: Service) -> None:
    setup(service=service.url, key="k")(job.proc)
    job.room.join()
    async with Interview.join(job):
        pass
    assert outcomes(service) == ["completed"]
    await job.proc.userdata["interview_agent.client"].aclose()


async def test_a_job_is_accepted_as_pending() -> None:
    class Request:
        async def accept(self, **arguments: Any) -> None:
            accepted.append(arguments)

    accepted: list[dict[str, Any]] = []
    request: Any = Request()
    await accept_request(request)
    assert accepted == [{"attributes": {"interview.outcome": "pending"}}]
