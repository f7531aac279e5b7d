"""Options and arguments that many commands have."""

from typing import Annotated

import typer

Url = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_URL",
        help="The API's address; default: that of --stack, else of `crewrelay login`, else of `crewrelay serve`.",
        show_default=False,
    ),
]
Stack = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_STACK",
        help="The CloudFormation stack to take the address from (its output ApiUrl).",
        show_default=False,
    ),
]
Token = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_TOKEN",
        help="Prefer the variable or `crewrelay login`: other users can see command lines.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; of a list, an object per line.")]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID", show_default=False)]
