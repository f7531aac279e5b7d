// A job: how far it is, what it asks, its answer, its timeline, its receipt.

import { ask, Problem, repeat, withQuery } from "./api.js";
import { answer } from "./answer.js";
import { confirmed, h, say } from "./dom.js";
import { exact, took } from "./format.js";
import { badge, button, when } from "./parts.js";
import { question } from "./question.js";
import { inputs, receipt } from "./receipt.js";
import { timeline } from "./timeline.js";

const ENDED = new Set(["completed", "failed", "cancelled"]);
const WAIT = 20; // seconds, for the next event

/** @param {HTMLElement} main @param {import("./view.js").View} view */
export async function job(main, { signal, failed }, id) {
  const path = `crewai/jobs/${id}`;
  const events = [];
  const place = h("div");
  const parts = Object.fromEntries(["head", "ask", "answer", "timeline", "receipt"].map(name => [name, h("div")]));
  let tag = "";
  let last = 0;
  let status = null;

  async function look() {
    const given = await ask("GET", `crewai/status/${id}`, { signal, headers: tag ? { "If-None-Match": tag } : {} });
    if (given.status === 304) return;
    tag = given.headers.get("etag") || "";
    show(await given.json());
  }

  function show(job) {
    const before = status;
    status = job;
    document.title = `${job.status} · crewrelay`;
    parts.head.replaceChildren(head(job));
    if (before?.waiting?.id !== job.waiting?.id || !before)
      parts.ask.replaceChildren(...(job.waiting ? [question(job, resumed)] : []));
    if (before?.status !== job.status) {
      parts.answer.replaceChildren(...(job.status === "completed" ? [answer(job)] : []));
      if (before) say(`The job is ${job.status}`);
    }
    parts.receipt.replaceChildren(receipt(job));
    draw();
  }

  const draw = () => { if (status) parts.timeline.replaceChildren(timeline(status, events)); };
  const resumed = job => { tag = ""; show(job); follow(); };

  function head(job) {
    const act = (label, what, options) => button(label, place, async () => {
      resumed(await (await ask("POST", `${path}/${what}`)).json());
    }, options);
    const remove = button("Delete", place, async () => {
      if (!await confirmed("Delete this job with its input, journal and answer?", "Delete it")) return;
      await ask("DELETE", path);
      location.hash = "#/";
    });
    return h("section", { class: "card", "aria-label": "Job" },
      h("div", { class: "heading" },
        h("h1", {}, badge(job.status), h("span", {}, job.inputs.topic ? String(job.inputs.topic) : `A run of ${job.crew}`)),
        h("div", { class: "row" },
          !ENDED.has(job.status) && act("Cancel", "cancel"),
          job.status === "failed" && act("Retry", "retry", { class: "primary" }),
          ENDED.has(job.status) && remove)),
      h("p", { class: "small" }, h("span", { class: "id" }, job.job_id), " · ", job.crew, " · submitted ", when(job.timestamps.created_at),
        job.timestamps.started_at && ` · took ${took(job.timestamps)}`,
        job.batch && [" · ", h("a", { href: `#/batches/${job.batch}` }, "its batch")]),
      progress(job),
      job.error && h("div", { class: "problem" }, h("p", { class: "strong" }, job.error.message),
        h("p", { class: "small" }, job.error.type, job.error.retryable && !ENDED.has(job.status) ? ": it is tried again" : "")),
      place,
      h("details", {}, h("summary", {}, "Inputs"), inputs(job)),
      h("p", { class: "small" }, `Kept until ${exact(job.timestamps.expires_at)}.`));
  }

  let following = 0;
  async function follow() {
    const mine = ++following; // a retry begins anew
    await repeat(signal, async () => {
      if (mine !== following) return false;
      const wait = status && !ENDED.has(status.status) ? WAIT : 0;
      const found = await (await ask("GET", withQuery(`${path}/events`, { after: last, limit: 1000, wait }), { signal })).json();
      if (mine !== following) return false;
      events.push(...found.events.filter(each => each.number > last));
      last = Math.max(last, found.last);
      if (found.events.length || !status || found.status !== status.status) await look();
      if (found.events.length) draw();
      return ENDED.has(found.status) && !found.events.length ? false : 300;
    }, error => { if (!(error instanceof Problem && error.status === 404 && place.isConnected === false)) failed(error); });
  }

  await look();
  main.replaceChildren(...["head", "ask", "answer", "timeline", "receipt"].map(name => parts[name]));
  await follow();
}

function progress({ status, progress: { completed_tasks: done, total_tasks: all, current_task: task, current_agent: agent } }) {
  if (status !== "running" && status !== "waiting" || !all) return status === "pending" && h("p", { class: "note" }, "It waits for a worker.");
  return h("div", { class: "progress" },
    h("progress", { max: all, value: done, "aria-label": `${done} of ${all} tasks done` }),
    h("p", { class: "small" }, `Task ${Math.min(done + 1, all)} of ${all}`, task && `: ${task}`, agent && `, by ${agent}`));
}
