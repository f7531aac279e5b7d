// What a run's timeline shows, from the job's events: spans and moments in time, and the axis that they stand on.

/** @typedef {{lane: string, kind: string, from: number, to: number, label: string, about: string}} Span */

import { cost, duration, number } from "./format.js";

const ENDS = new Set(["completed", "failed", "cancelled"]);
const MOMENTS = { relayed: "relay", backed_off: "backoff", retried: "retry", completed: "completed", failed: "failed", cancelled: "cancelled" };
const LANES = { model: "Model", tool: "Tools", retrieval: "Search" };

/**
 * @param {any[]} events
 * @param {number} now in milliseconds
 * @returns {{spans: Span[], moments: {kind: string, at: number, about: string}[]}}
 */
export function spansOf(events, now) {
  const spans = [];
  const moments = [];
  const open = { queue: null, run: null, wait: null };
  /** @type {Map<number, Span>} */
  const tasks = new Map();
  let paid = false; // whether the journal has calls
  let replay = null; // of the run, until its first call of its own
  const add = (lane, kind, from, to, label, about) => spans.push({ lane, kind, from, to: Math.max(from, to), label, about }) && spans.at(-1);
  const close = (name, at) => {
    if (open[name]) open[name].to = Math.max(open[name].from, at);
    open[name] = null;
  };
  const replayed = at => {
    if (replay) add("Run", "replay", replay.from, at, "", "what earlier runs paid for is replayed from the journal");
    replay = null;
  };
  for (const event of events) {
    const at = Date.parse(event.at);
    switch (event.event) {
      case "submitted":
        open.queue = add("Run", "queue", at, now, "", "waits for a worker");
        break;
      case "claimed":
        if (open.run) moments.push({ kind: "kill", at, about: `the process of run ${event.fence - 1} was lost` });
        close("run", at);
        close("queue", at);
        open.run = add("Run", "run", at, now, `run ${event.fence}`, `run ${event.fence}`);
        replay = paid ? { from: at } : null;
        break;
      case "task_started":
        tasks.set(event.task, add("Tasks", "task", at, now, event.name, `task ${event.task} of ${event.of}: ${event.name}, by ${event.agent}`));
        break;
      case "task_completed":
        if (tasks.has(event.task)) tasks.get(event.task).to = at;
        tasks.delete(event.task);
        break;
      case "call": {
        if (event.kind === "human") break; // the wait shows it
        const from = at - 1000 * (event.seconds || 0);
        if (replay && event.fence && event.fence > 1) replayed(Math.max(replay.from, from));
        add(LANES[event.kind] || "Model", event.kind, from, at, "", described(event));
        paid = true;
        break;
      }
      case "waiting":
        replayed(at);
        close("run", at);
        open.wait = add("Human", "wait", at, now, "waits for a human", "waits for a human; no process is held");
        break;
      default:
        replayed(at);
        for (const name of ["wait", "run", "queue"]) close(name, at);
        if (!ENDS.has(event.event)) open.queue = add("Run", "queue", at, now, "", "waits for a worker");
        else for (const task of tasks.values()) task.to = at;
        if (event.event in MOMENTS) moments.push({ kind: MOMENTS[event.event], at, about: event.error ? `${event.event.replace("_", " ")}: ${event.error}` : event.event.replace("_", " ") });
    }
  }
  replayed(now);
  return { spans: spans.filter(each => each.to > each.from || each.kind !== "queue"), moments };
}

export function described({ kind, model, seconds, prompt_tokens: given, completion_tokens: made, cost_usd: usd }) {
  const parts = [model || { tool: "a tool", retrieval: "a search", human: "a human's answer" }[kind] || kind, duration(seconds || 0)];
  if (model) parts.push(`${number(given || 0)} + ${number(made || 0)} tokens`, cost(usd));
  return parts.join(" · ");
}

/**
 * Places in time as places on a line. A long time in which nothing happens is cut, and told.
 * @returns {{place: (at: number) => number, cuts: {from: number, to: number, seconds: number}[]}}
 */
export function axisOf(spans, moments, width) {
  const calls = spans.filter(each => LANES[each.kind]);
  const times = [...new Set([...spans.flatMap(each => [each.from, each.to]), ...moments.map(each => each.at)])].sort((a, b) => a - b);
  const gaps = times.slice(1).map((to, at) => ({ from: times[at], to, busy: calls.some(call => call.from < to && call.to > times[at]) }));
  const busy = gaps.reduce((sum, gap) => sum + (gap.busy ? gap.to - gap.from : 0), 0);
  const sorted = gaps.map(gap => gap.to - gap.from).sort((a, b) => a - b);
  const most = Math.max(busy / 2, 8 * (sorted[Math.floor(sorted.length / 2)] || 0), 20);
  const lengths = gaps.map(gap => (gap.busy ? gap.to - gap.from : Math.min(gap.to - gap.from, most)));
  const total = lengths.reduce((sum, one) => sum + one, 0) || 1;
  const ends = [0];
  for (const one of lengths) ends.push(ends[ends.length - 1] + (one / total) * width);
  const place = at => {
    const next = times.findIndex(time => time >= at);
    if (next <= 0) return next === 0 ? 0 : width;
    const share = (at - times[next - 1]) / (times[next] - times[next - 1]);
    return ends[next - 1] + share * (ends[next] - ends[next - 1]);
  };
  const cuts = gaps.filter(gap => !gap.busy && gap.to - gap.from > 1.5 * most)
    .map(gap => ({ from: place(gap.from), to: place(gap.to), seconds: (gap.to - gap.from) / 1000 }));
  return { place, cuts };
}
