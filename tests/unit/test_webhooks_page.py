"""docs/webhooks.md: its receiver takes what is signed, and nothing else."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.processes import ROOT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type": "job.completed", "data": {"job_id": "7b52"}}'


def test_the_receiver_tells_what_was_signed_and_refuses_what_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/webhooks.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program.replace("whsec_…", SECRET), names)  # noqa: S102  # the page's own code
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, BODY),
    }
    names["receive"](headers, BODY.encode())
    assert capsys.readouterr().out == "job.completed 7b52\n"
    with pytest.raises(WebhookVerificationError):
        names["receive"](headers, BODY.replace("7b52", "7b53").encode())
