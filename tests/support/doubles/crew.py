"""What a CrewAI crew is made of, scripted: a model and a tool that do as told and keep what they were asked."""

from collections.abc import Callable
from typing import Any

from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from pydantic import PrivateAttr


class ScriptedModel(BaseLLM):
    """Its script gets the messages; it counts a token for each of a text's characters, and one for its reply."""

    _script: Callable[[Any], Any] = PrivateAttr()
    _asked: list[Any] = PrivateAttr()
    _stops: list[list[str]] = PrivateAttr()

    def __init__(self, script: Callable[[Any], Any] = lambda messages: f"about {messages}") -> None:
        super().__init__(model="scripted/one")
        self._script, self._asked, self._stops = script, [], []

    @property
    def asked(self) -> list[Any]:
        return self._asked

    @property
    def stops(self) -> list[list[str]]:
        """The stop words of each call."""
        return self._stops

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        self._asked.append(messages)
        self._stops.append(self.stop_sequences)
        self._token_usage["prompt_tokens"] += len(messages)
        reply = self._script(messages)
        self._token_usage["completion_tokens"] += 1
        return reply

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 1000  # of which CrewAI lets a tool's result take a quarter, by its estimate 1,000 characters


class Weather(BaseTool):
    """A tool; its script gets the city."""

    name: str = "weather"
    description: str = "Tells the weather of a city."
    _script: Callable[[str], str] = PrivateAttr()
    _asked: list[str] = PrivateAttr()

    def __init__(self, script: Callable[[str], str] = lambda city: f"rain in {city}") -> None:
        super().__init__()  # type: ignore[call-arg]  # name and description are class attributes
        self._script, self._asked = script, []

    @property
    def asked(self) -> list[str]:
        return self._asked

    def _run(self, city: str) -> str:
        self._asked.append(city)
        return self._script(city)


def weather_call(city: str) -> list[dict[str, Any]]:
    """A model's wish to know the weather."""
    function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
    return [{"id": "call_1", "type": "function", "function": function}]
