"""The organization of the API key."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app import models
from app.api.dependencies import AdminCaller, CurrentServices, JsonBody, Session
from app.api.routes import ApiRoute
from app.api.types import Shape
from app.core.settings import JoinPolicy, stricter
from app.models import RejoinAfterFailure

router = APIRouter(route_class=ApiRoute, tags=["operator"])


class Organization(Shape):
    """The organization of the API key."""

    name: str = Field(examples=["default"])
    join_policy: JoinPolicy | None = Field(description="The organization's own policy; null: the deployment's applies")
    effective_join_policy: JoinPolicy = Field(
        description="The policy in force: the stricter of the organization's and the deployment's"
    )
    rejoin_after_failure: RejoinAfterFailure = Field(
        description="When a join after FAILED opens the next attempt by itself: always; before_start: not after "
        "CONNECTION_LOST, as that conversation had started; never. A reopen is always possible"
    )

    @classmethod
    def of(cls, organization: models.Organization, *, deployment: JoinPolicy) -> "Organization":
        own = organization.join_policy
        return cls(
            name=organization.name,
            join_policy=own,
            effective_join_policy=stricter(deployment, own),
            rejoin_after_failure=organization.rejoin_after_failure,
        )


class OrganizationUpdate(Shape, extra="forbid"):
    """Changes to the organization. Omitted fields stay as they are."""

    # The defaults are unused: only what was sent is set.
    join_policy: JoinPolicy | None = Field(default=None, description="null: the deployment's applies")
    rejoin_after_failure: RejoinAfterFailure = Field(default_factory=lambda: RejoinAfterFailure.ALWAYS)


@router.get("/organization", operation_id="getOrganization", summary="Get the API key's organization")
async def get_organization(caller: AdminCaller, session: Session, services: CurrentServices) -> Organization:
    organization = await session.get_one(models.Organization, caller.organization_id)
    return Organization.of(organization, deployment=services.settings.deployment_policy)


@router.patch("/organization", operation_id="changeOrganization", summary="Change the organization's settings")
async def change_organization(
    caller: AdminCaller, session: Session, services: CurrentServices, body: Annotated[OrganizationUpdate, JsonBody()]
) -> Organization:
    """Applies from the next join on. A join policy less strict than the deployment's has no effect."""
    organization = await session.get_one(models.Organization, caller.organization_id)
    for name in body.model_fields_set:
        setattr(organization, name, getattr(body, name))
    return Organization.of(organization, deployment=services.settings.deployment_policy)
