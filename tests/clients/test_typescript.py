"""clients/typescript works: its own tests, by Node's test runner. A browser joins by it in tests/e2e."""

from tests.clients import typescript
from tests.e2e.toolchain import Missing, missing


def test_its_own_tests() -> None:
    try:
        typescript.install()
    except Missing as reason:
        missing(reason)
    typescript.run("npm", "test", "--silent")
