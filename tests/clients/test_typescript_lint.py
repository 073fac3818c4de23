"""clients/typescript has the service's types, and is formatted and typed well. `make lint` runs this file."""

import pytest

from tests.clients import typescript
from tests.e2e.toolchain import Missing, missing


@pytest.fixture(autouse=True, scope="module")
def _packages() -> None:
    try:
        typescript.install()
    except Missing as reason:
        missing(reason)


def test_the_types_are_those_of_the_service() -> None:
    if typescript.types_of_the_service() != typescript.TYPES.read_text():
        pytest.fail("The service's OpenAPI document has changed: run `make client-types`.", pytrace=False)


def test_format_style_and_types() -> None:
    typescript.run("npm", "run", "--silent", "check")
