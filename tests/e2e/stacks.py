"""What the stacks of conftest.py are."""

from typing import NamedTuple

from tests.support.models import ScriptedModel
from tests.support.stack import RunningStack

LIMIT = 4  # seconds that the gateway of the hasty one waits
ORIGIN = "https://app.example.org"  # of a page that may call the guarded one


class ScriptedStack(NamedTuple):
    """A stack, and its model, for which each test writes the script."""

    stack: RunningStack
    model: ScriptedModel
