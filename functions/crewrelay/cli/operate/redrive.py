"""`crewrelay redrive`."""

from enum import StrEnum
from typing import Annotated

import typer

from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json
from crewrelay.cli.terminal import fail


class DeadLetterQueue(StrEnum):
    JOBS = "jobs"
    INTAKE = "intake"
    NOTIFY = "notify"


def redrive(
    queue: Annotated[
        DeadLetterQueue, typer.Argument(help="The queue whose dead-letter queue to redrive.")
    ] = DeadLetterQueue.JOBS,
    stack: Annotated[
        str, typer.Option(envvar="CREWRELAY_STACK", help="The CloudFormation stack that the queues belong to.")
    ] = "crewrelay",
    as_json: AsJson = False,
) -> None:
    """Send messages of a dead-letter queue back. Finished jobs are not run again; malformed messages stay there."""
    from crewrelay.aws import clients, dead_letters
    from crewrelay.events import bells, intake
    from crewrelay.jobs.errors import Misconfigured, Unavailable

    names, check = {
        DeadLetterQueue.JOBS: (("JobDeadLetterQueue", "JobQueue"), bells.job_id_of),
        DeadLetterQueue.INTAKE: (("IntakeDeadLetterQueue", "IntakeQueue"), intake.parse),
        DeadLetterQueue.NOTIFY: (("NotifyDeadLetterQueue", "NotifyQueue"), bells.job_id_of),
    }[queue]
    try:
        dlq_url, queue_url = (clients.resource(stack, name) for name in names)
        brought_back, left = dead_letters.redrive(clients.sqs(), dlq_url, queue_url, check)
    except (Unavailable, Misconfigured) as failure:
        fail(f"{failure} Do region, credentials and --stack belong to the deployment?")
    if as_json:
        say_json({"sent_back": brought_back, "malformed": left})
    else:
        say(f"{brought_back} sent back, {left} left because they are malformed")
