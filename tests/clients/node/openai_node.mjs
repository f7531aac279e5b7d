// openai-node against the stack.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import OpenAI from "openai";
import { VERSION } from "openai/version";

const client = new OpenAI({ baseURL: `${process.env.URL}/v1`, apiKey: process.env.TOKEN, maxRetries: 5 });
const ran = (what) => console.log(JSON.stringify({ client: "openai", version: VERSION, what }));
const asked = (input) => ({ model: "research", input, metadata: { language: "en" } });

assert((await client.models.list()).data.some((model) => model.id === "research"));
ran("models");

const created = await client.responses.create(asked("created by node"));
assert.equal(created.status, "completed");
assert(created.output_text);
ran("create");

let polled = await client.responses.create({ ...asked("polled by node"), background: true });
assert.equal(polled.status, "queued");
while (["queued", "in_progress"].includes(polled.status)) {
  await pause(200);
  polled = await client.responses.retrieve(polled.id);
}
assert.equal(polled.status, "completed");
ran("background and poll");

const events = [];
for await (const event of await client.responses.create({ ...asked("streamed by node"), background: true, stream: true }))
  events.push(event);
let windows = 1;
while (events.at(-1).type !== "response.completed") {
  const rest = { stream: true, starting_after: events.at(-1).sequence_number };
  for await (const event of await client.responses.retrieve(events[0].response.id, rest)) events.push(event);
  windows += 1;
}
assert(windows > 1);
assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
ran("stream, continued in windows");

const begun = await client.responses.create({ ...asked("cancelled by node"), background: true });
assert.equal((await client.responses.cancel(begun.id)).status, "cancelled");
await client.responses.delete(begun.id);
await assert.rejects(client.responses.retrieve(begun.id), OpenAI.NotFoundError);
await assert.rejects(client.responses.create({ model: "gpt-5", input: "x" }), OpenAI.UnprocessableEntityError);
ran("cancel, delete, error classes");

const messages = [{ role: "user", content: "chatted by node" }];
const chat = { model: "research", messages, metadata: { language: "en" } };
const done = await client.chat.completions.create(chat);
let told = "";
for await (const chunk of await client.chat.completions.create({ ...chat, stream: true }))
  told += chunk.choices[0].delta.content ?? "";
assert(told);
assert.equal(told, done.choices[0].message.content);
ran("chat completion, streamed chat completion");
