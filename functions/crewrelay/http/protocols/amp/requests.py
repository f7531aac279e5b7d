"""What kickoff and resume hold. Unknown fields are ignored, and names may be spelled in camelCase, as some do."""

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from crewrelay.catalogue.request import permitted_url
from crewrelay.http.protocols.amp.notifications import FORM_CREW
from crewrelay.http.protocols.amp.receivers import HumanInputWebhook, Meta, Stream
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.questions import LONGEST_FEEDBACK, Feedback, Question
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.outbound.guard import LONGEST_URL

_UNSERVED = {
    "task_webhook_url": "outputs of single tasks are not kept; ask for task_completed in webhooks instead",
    "step_webhook_url": "an agent's steps are not kept; ask for llm_call_completed and tool_usage_finished in webhooks "
    "instead",
}
_ENDS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
_IfGiven = BeforeValidator(lambda given: given or None)  # clients send nulls and empty values


def _either_spelling(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_either_spelling))

    task_webhook_url: Any = None
    step_webhook_url: Any = None
    crew_webhook_url: Annotated[
        Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(permitted_url)] | None, _IfGiven
    ] = None
    human_input_webhook: Annotated[HumanInputWebhook | None, _IfGiven] = None
    webhooks: Annotated[Stream | None, _IfGiven] = None
    meta: Annotated[Meta | None, _IfGiven] = None

    def receivers(self, base_url: str) -> tuple[Webhook, ...]:
        """One for each field, by whose form it is named. Raises InvalidRequest for a field that is not served: a caller
        who waits to be called must not wait in vain.
        """
        for name, why in _UNSERVED.items():
            if getattr(self, name):
                raise InvalidRequest(f"{to_camel(name)}: is not served here: {why}.")
        found = [asked.webhook() for asked in (self.human_input_webhook, self.webhooks) if asked]
        if self.crew_webhook_url:
            found.append(Webhook(url=self.crew_webhook_url, events=_ENDS, form=FORM_CREW))
        common = {"base_url": base_url, "data": self.meta}
        return tuple(one.model_copy(update={**common, "name": one.form}) for one in found)


class Kickoff(_Body):
    inputs: dict[str, Any] | None = None


class Resumption(_Body):
    execution_id: Annotated[str, Field(max_length=100)]
    task_id: Annotated[str, Field(max_length=1000)] | None = None
    human_feedback: Annotated[str, Field(max_length=LONGEST_FEEDBACK)] | None = None
    is_approve: bool | None = None

    def answer_to(self, question: Question | None) -> Feedback:
        """Approval, or what to change. Where one of several options must be chosen, the feedback is that one."""
        text = (self.human_feedback or "").strip()
        if not text and not self.is_approve:
            raise InvalidRequest("human_feedback: must say what to change, unless is_approve is true")
        option = text if question and question.must_choose else None
        return Feedback(text="" if option else text, option=option, accepted=bool(self.is_approve))
