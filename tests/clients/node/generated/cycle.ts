// URL TOKEN: a full cycle with openapi-fetch, typed by what openapi-typescript has generated; prints what it did as JSON.

import createClient from "openapi-fetch";
import type { components, paths } from "./build/schema.js";

type Problem = components["schemas"]["Problem"];

const [url, token] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
const request = { topic: "neural networks", language: "en" };

function given<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function waitedFor(job_id: string) {
  for (;;) {
    const path = { job_id };
    const job = given(await client.GET("/crewai/status/{job_id}", { params: { path, query: { wait: 20 } } }));
    if (job.status === "completed" || job.status === "failed" || job.status === "cancelled") return job;
  }
}

function submit(body: typeof request, key: string) {
  return client.POST("/crewai/run/async", { body, params: { header: { "Idempotency-Key": key } } });
}

const crews = given(await client.GET("/crewai/crews")).crews.map((crew) => crew.name);
const accepted = given(await submit(request, "the same of node"));
const repeated = given(await submit(request, "the same of node")).job_id === accepted.job_id;
const path = { job_id: accepted.job_id };
const done = await waitedFor(accepted.job_id);
const inline = given(await client.POST("/crewai/run", { body: request }));
const log = given(await client.GET("/crewai/jobs/{job_id}/events", { params: { path } }));
if (typeof log === "string") throw new Error("a stream, without having asked for one");
const calls = given(await client.GET("/crewai/jobs/{job_id}/calls", { params: { path } }));

const hasty = { job_id: given(await submit({ topic: "rain", language: "en" }, "hasty")).job_id };
const cancelled = given(await client.POST("/crewai/jobs/{job_id}/cancel", { params: { path: hasty } })).status;

const items = ["SQLite", "rain"].map((topic) => ({ topic, language: "en", custom_id: topic }));
const batch_id = given(await client.POST("/crewai/run/batch", { body: { items } })).batch_id;
let batch = given(await client.GET("/crewai/batches/{batch_id}", { params: { path: { batch_id } } }));
while (!batch.finished) {
  batch = given(await client.GET("/crewai/batches/{batch_id}", { params: { path: { batch_id } } }));
}
const lines = given(
  await client.GET("/crewai/batches/{batch_id}/results", { params: { path: { batch_id } }, parseAs: "text" }),
);
const results = lines
  .trim()
  .split("\n")
  .map((line) => (JSON.parse(line) as components["schemas"]["BatchResult"]).custom_id);
const listed = given(await client.GET("/crewai/jobs", { params: { query: { batch: batch_id } } })).jobs;

const unknown = { params: { path: { job_id: "nobodys" } } };
const errors: Record<string, Problem | undefined> = {
  "not cancelled": (await client.POST("/crewai/jobs/{job_id}/cancel", { params: { path } })).error,
  unknown: (await client.GET("/crewai/status/{job_id}", unknown)).error,
  invalid: (await submit({ topic: "", language: "english" }, "another")).error,
  "another body": (await submit({ topic: "rain", language: "en" }, "the same of node")).error,
};
const deleted = (await client.DELETE("/crewai/jobs/{job_id}", { params: { path } })).response.status;

console.log(
  JSON.stringify({
    crews,
    repeated,
    status: done.status,
    cited: done.sources.length,
    inline: "answer" in inline && inline.answer === done.result,
    events: log.events.map((event) => event.event),
    calls: calls.total,
    cancelled,
    counts: batch.counts.completed,
    results: results.sort(),
    listed: listed.length,
    errors: Object.fromEntries(Object.entries(errors).map(([name, problem]) => [name, problem?.type.split(":").at(-1)])),
    fields: errors.invalid?.errors?.map((error) => error.field),
    deleted,
  }),
);
