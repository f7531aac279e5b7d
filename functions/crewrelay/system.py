"""The real clock, ids and log, for the composition roots; everything else takes them as arguments."""

import logging
import uuid
from datetime import UTC, datetime

from aws_lambda_powertools import Logger


def utcnow() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return str(uuid.uuid4())


logger = Logger(service="crewrelay")  # every logger of this package is its child: JSON lines
logging.getLogger("crewrelay").propagate = False  # the runtime, or CrewAI, may have given the root a handler too
