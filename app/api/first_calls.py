"""The calls that a newcomer makes first, as they are on this deployment: for its page / and for the terminal."""

from typing import NamedTuple

from app.core.settings import LOCAL_API_KEY, JoinPolicy, Settings
from app.interviews.demo import DEMO, DEMO_ID

NEW_INTERVIEW = """\
{"candidateId": "cand-1", "applicationId": "app-1", "jobPostId": "job-1",
       "jobTitle": "Backend Developer", "companyName": "MENA Bank", "phoneNumber": "+966 50 987 6543"}"""


class FirstCalls(NamedTuple):
    """Commands for a shell. `invite` is empty unless a join needs one."""

    schedule: str
    invite: str
    join: str
    read: str


def first_calls(settings: Settings, address: str, *, has_demo: bool) -> FirstCalls:
    """Return the calls to the service at this address.

    The API key is shown only if it is the public one of a local start, the demo's id only if the demo is there.
    """
    key = known_key(settings) or "$API_KEY"
    interview = f"{address}/interviews/{DEMO_ID if has_demo else '$INTERVIEW_ID'}"
    authorized = f'-H "Authorization: Bearer {key}"'
    post = "curl -sS -X POST"
    needs_invite = settings.deployment_policy is JoinPolicy.INVITE
    return FirstCalls(
        schedule=f"{post} {address}/interviews \\\n"
        f'  {authorized} -H "Content-Type: application/json" \\\n'
        f"  -d '{NEW_INTERVIEW}'",
        invite=f"{post} {authorized} {interview}/invite" if needs_invite else "",
        join=f"{post} {interview}/join{_credentials(settings.deployment_policy, has_demo=has_demo)}",
        read=f"curl -sS {authorized} {interview}",
    )


def known_key(settings: Settings) -> str | None:
    """Return the API key of a local start; None where the operator set one."""
    return LOCAL_API_KEY if settings.bootstrap_api_key.get_secret_value() == LOCAL_API_KEY else None


def _credentials(policy: JoinPolicy, *, has_demo: bool) -> str:
    """Return the body of a join, as the deployment's policy asks for it."""
    shown = {
        JoinPolicy.OPEN: "",
        JoinPolicy.PHONE: f'{{"phoneNumber": "{DEMO.phone_number if has_demo else "..."}"}}',
        JoinPolicy.INVITE: '{"invite": "inv_..."}',
    }[policy]
    return f" -d '{shown}'" if shown else ""
