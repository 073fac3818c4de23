"""The organization of the API key."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app import models
from app.api.dependencies import AdminCaller, CurrentServices, JsonBody, Session
from app.api.routes import ApiRoute
from app.api.types import Shape
from app.core.settings import JoinPolicy, stricter

router = APIRouter(route_class=ApiRoute, tags=["operator"])


class Organization(Shape):
    """The organization of the API key."""

    name: str = Field(examples=["default"])
    join_policy: JoinPolicy | None = Field(description="The organization's own policy; null: the deployment's applies")
    effective_join_policy: JoinPolicy = Field(
        description="The policy in force: the stricter of the organization's and the deployment's"
    )

    @classmethod
    def of(cls, organization: models.Organization, *, deployment: JoinPolicy) -> "Organization":
        own = organization.join_policy
        return cls(name=organization.name, join_policy=own, effective_join_policy=stricter(deployment, own))


class OrganizationUpdate(Shape, extra="forbid"):
    """Changes to the organization. Omitted fields stay as they are."""

    join_policy: JoinPolicy | None = None


@router.get("/organization", operation_id="getOrganization", summary="Get the API key's organization")
async def get_organization(caller: AdminCaller, session: Session, services: CurrentServices) -> Organization:
    organization = await session.get_one(models.Organization, caller.organization_id)
    return Organization.of(organization, deployment=services.settings.deployment_policy)


@router.patch("/organization", operation_id="changeOrganization", summary="Set the organization's join policy")
async def change_organization(
    caller: AdminCaller, session: Session, services: CurrentServices, body: Annotated[OrganizationUpdate, JsonBody()]
) -> Organization:
    """Applies from the next join on. A policy less strict than the deployment's has no effect."""
    organization = await session.get_one(models.Organization, caller.organization_id)
    if "join_policy" in body.model_fields_set:
        organization.join_policy = body.join_policy
    return Organization.of(organization, deployment=services.settings.deployment_policy)
