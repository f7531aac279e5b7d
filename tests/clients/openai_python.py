"""openai-python against the stack; what it gets is checked against the schemas of Open Responses, too."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import openai
import openresponses_types as schemas
from openai import OpenAI

URL, TOKEN = os.environ["URL"], os.environ["TOKEN"]
EVENTS = {
    "response.created": schemas.ResponseCreatedStreamingEvent,
    "response.queued": schemas.ResponseQueuedStreamingEvent,
    "response.in_progress": schemas.ResponseInProgressStreamingEvent,
    "response.output_item.added": schemas.ResponseOutputItemAddedStreamingEvent,
    "response.content_part.added": schemas.ResponseContentPartAddedStreamingEvent,
    "response.output_text.delta": schemas.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.annotation.added": schemas.ResponseOutputTextAnnotationAddedStreamingEvent,
    "response.output_text.done": schemas.ResponseOutputTextDoneStreamingEvent,
    "response.content_part.done": schemas.ResponseContentPartDoneStreamingEvent,
    "response.output_item.done": schemas.ResponseOutputItemDoneStreamingEvent,
    "response.completed": schemas.ResponseCompletedStreamingEvent,
    "response.failed": schemas.ResponseFailedStreamingEvent,
}


def ran(what: str, client: str = "openai") -> None:
    print(json.dumps({"client": client, "version": version(client), "what": what}), flush=True)


def asked(topic: str) -> dict[str, Any]:
    return {"model": "research", "input": topic, "metadata": {"language": "en"}}


def create(client: OpenAI) -> None:
    response = client.responses.create(**asked("created at once"))  # longer than one request may wait
    assert response.status == "completed", response
    assert response.output_text
    ran("create")


def poll(client: OpenAI) -> None:
    response = client.responses.create(**asked("polled"), background=True)
    assert response.status == "queued", response
    schemas.ResponseResource.model_validate(response.to_dict())
    while response.status in ("queued", "in_progress"):
        time.sleep(0.2)
        response = client.responses.retrieve(response.id)
    assert response.status == "completed", response
    schemas.ResponseResource.model_validate(response.to_dict())
    assert client.responses.input_items.list(response.id).data
    ran("background and poll")


def stream(client: OpenAI) -> None:
    events, windows = list(client.responses.create(**asked("streamed"), background=True, stream=True)), 1
    first: Any = events[0]
    while events[-1].type != "response.completed":
        after = events[-1].sequence_number
        events += client.responses.retrieve(first.response.id, stream=True, starting_after=after)
        windows += 1
    assert windows > 1
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        EVENTS[event.type].model_validate(event.to_dict())
    ran("stream, continued in windows")
    with client.responses.stream(response_id=first.response.id, starting_after=3) as continued:
        final = continued.get_final_response()
    assert final.output_text == "".join(event.delta for event in events if event.type == "response.output_text.delta")
    ran("responses.stream with starting_after")
    ran("schemas of the response and of each event", "openresponses-types")


def cancel(client: OpenAI) -> None:
    response = client.responses.create(**asked("cancelled"), background=True)
    assert client.responses.cancel(response.id).status == "cancelled"
    client.responses.delete(response.id)
    refuses(openai.NotFoundError, lambda: client.responses.retrieve(response.id))
    ran("cancel, delete")


def refuses(kind: type[openai.APIStatusError], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind as caught:
        error = caught
    else:
        raise AssertionError(f"no {kind}")
    assert error.code, error.body


def errors(client: OpenAI) -> None:
    refuses(openai.NotFoundError, lambda: client.responses.retrieve("resp_unknown"))
    refuses(openai.UnprocessableEntityError, lambda: client.responses.create(model="gpt-5", input="x"))
    hasty = client.with_options(max_retries=0)
    refuses(openai.InternalServerError, lambda: hasty.responses.create(**asked("not in time")))
    try:
        client.with_options(api_key="crt_wrong").models.list()
    except openai.AuthenticationError:
        ran("error classes")


def lost_answer() -> None:
    """A proxy passes the request on and hangs up; the client repeats it by itself."""
    host, port = urlsplit(URL).hostname, urlsplit(URL).port
    listener = socket.create_server(("127.0.0.1", 0))
    lost: list[str] = []

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, port))
            request = near.recv(65536)
            while b"\r\n\r\n" not in request or not request.endswith(b"}"):
                request += near.recv(65536)
            far.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
            answer = b""
            while b"\r\n\r\n" not in answer or b'"id"' not in answer:
                answer += far.recv(65536)
            if lost:
                near.sendall(answer)
                while more := far.recv(65536):
                    near.sendall(more)
            else:
                lost.append(json.loads(answer.partition(b"\r\n\r\n")[2])["id"])
            near.close()
            far.close()

    threading.Thread(target=serve, daemon=True).start()
    client = OpenAI(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key=TOKEN)
    response = client.responses.create(**asked("an answer that is lost"), background=True)
    listener.close()
    assert [response.id] == lost, (response.id, lost)
    ran("a lost answer, repeated by the client: one job")


def chat(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "chatted"}]
    done = client.chat.completions.create(model="research", messages=messages, metadata={"language": "en"})
    assert done.choices[0].message.content
    chunks = client.chat.completions.create(
        model="research", messages=messages, metadata={"language": "en"}, stream=True
    )
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert told == done.choices[0].message.content
    ran("chat completion, streamed chat completion")


def main() -> None:
    with OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=5) as client:
        assert "research" in [model.id for model in client.models.list()]
        ran("models")
        for step in (create, poll, stream, cancel, errors, chat):
            step(client)
    lost_answer()


if __name__ == "__main__":
    main()
