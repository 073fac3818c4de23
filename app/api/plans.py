"""What a platform sends of many interviews, and of one that it edits; the agent's private context."""

from typing import Any

from pydantic import ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from app.api.schemas import Context, Interview, NewInterview
from app.api.types import GivenInstant, MaxDuration, OpaqueId, ParticipantName, PhoneNumber, Shape, Text
from app.interviews.schedule import Plan

MOST_AT_ONCE = 1000  # interviews


class NewInterviews(Shape):
    """Interviews to schedule, all of them or none."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    interviews: list[NewInterview] = Field(min_length=1, max_length=MOST_AT_ONCE)

    def plans(self) -> list[Plan]:
        return [each.plan(field=f"interviews.{place}.instructions") for place, each in enumerate(self.interviews)]


class ScheduledInterviews(Shape):
    """The interviews that were scheduled, in the order given."""

    data: list[Interview]


class InterviewChanges(Shape):
    """What is to change of an interview (a JSON merge patch, RFC 7396): what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    # The defaults are never looked at: `given` has only what was sent, and null is no value of most.
    candidate_id: OpaqueId = Field(default_factory=str, description="Can't be changed once a token was issued")
    application_id: OpaqueId = Field(default_factory=str)
    job_post_id: OpaqueId = Field(default_factory=str)
    participant_name: ParticipantName = Field(
        default_factory=str, min_length=1, description="At most 256 bytes of UTF-8"
    )
    phone_number: PhoneNumber = Field(default_factory=str)
    job_title: Text = Field(default_factory=str, min_length=1, max_length=500)
    company_name: Text = Field(default_factory=str, min_length=1, max_length=500)
    instructions: Text = Field(
        default_factory=str,
        min_length=1,
        description="Those that came from the organization's template follow the other texts by themselves",
    )
    max_duration: MaxDuration = Field(default_factory=int)
    opens_at: GivenInstant | None = Field(default=None, description="null: it is open")
    closes_at: GivenInstant | None = Field(default=None, description="null: it stays open")
    context: Context = Field(default=None, description="Any JSON, 64 KB at most; null takes it away")

    def given(self) -> dict[str, Any]:
        """Return what was sent, by the names of the interview's columns."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class InterviewContext(Shape):
    """What the agent alone may know of an interview."""

    context: JsonValue = Field(description="The JSON that came with the interview; null: none did")
