import json

import pytest
from conftest import INTERVIEW_ID, METADATA

from interview_agent import InterviewMetadata, MetadataError
from interview_agent.metadata import interview_id_of_room


def test_metadata_is_typed() -> None:
    metadata = InterviewMetadata.parse(json.dumps(METADATA))
    assert metadata == InterviewMetadata(
        candidate_id="candidate",
        participant_name="نورة القحطاني",
        phone_number="966509876543",
        job_title="Senior Backend Developer - Fintech",
        interview_id=INTERVIEW_ID,
        application_id="application",
        job_post_id="post",
        company_name="MENA Bank",
        instructions="Welcome.",
        max_duration=1800,
        status="READY_TO_JOIN",
    )


def test_unknown_fields_are_kept() -> None:
    assert InterviewMetadata.parse(json.dumps({**METADATA, "later": [1]})).extra == {"later": [1]}


@pytest.mark.parametrize("field", METADATA)
def test_a_missing_field_is_named(field: str) -> None:
    rest = {name: value for name, value in METADATA.items() if name != field}
    with pytest.raises(MetadataError) as raised:
        InterviewMetadata.parse(json.dumps(rest))
    assert raised.value.problems == (f"{field} is missing",)


@pytest.mark.parametrize("field", METADATA)
@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ([], "a list"), (True, "a boolean"), (1.5, "a number")])
def test_a_mistyped_field_is_named(field: str, value: object, kind: str) -> None:
    with pytest.raises(MetadataError) as raised:
        InterviewMetadata.parse(json.dumps({**METADATA, field: value}))
    expected = "a whole number" if field == "maxDuration" else "a string"
    assert raised.value.problems == (f"{field} is {kind} instead of {expected}",)


def test_all_problems_are_in_one_error() -> None:
    with pytest.raises(MetadataError) as raised:
        InterviewMetadata.parse('{"maxDuration": "1800"}')
    assert len(raised.value.problems) == 11


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "it is empty"), ("{", "it is not JSON"), ("[]", "it is a list instead of an object")],
)
def test_what_is_no_object_is_named(text: str, problem: str) -> None:
    with pytest.raises(MetadataError) as raised:
        InterviewMetadata.parse(text)
    assert raised.value.problems == (problem,)


def test_an_error_repeats_no_personal_data() -> None:
    with pytest.raises(MetadataError) as raised:
        InterviewMetadata.parse(json.dumps({**METADATA, "maxDuration": "Noura"}))
    assert "Noura" not in str(raised.value)


@pytest.mark.parametrize("room", [f"interview-{INTERVIEW_ID}", f"interview-{INTERVIEW_ID}-12"])
def test_a_room_names_its_interview(room: str) -> None:
    assert interview_id_of_room(room) == INTERVIEW_ID


@pytest.mark.parametrize("room", ["interview-1", f"interview-{INTERVIEW_ID}-", f"{INTERVIEW_ID}", "lobby"])
def test_other_rooms_belong_to_no_interview(room: str) -> None:
    assert interview_id_of_room(room) is None
