// A run as a picture, which can be saved, and as a table of its events.

import { h, s, save } from "./dom.js";
import { cost, duration, exact, number, plural } from "./format.js";
import { axisOf, described, spansOf } from "./spans.js";

// Colours are attributes, so that a saved picture has them; the style sheet overrides them in the dark.
const COLOURS = {
  queue: "#d6d1c6", run: "#8fa7b3", replay: "#8a63b8", task: "#c9d6cf", model: "#0b5d57", tool: "#b5651d", retrieval: "#2f6db0",
  wait: "#ecd9a0", kill: "#b3261e", relay: "#4a5568", backoff: "#b5651d", retry: "#4a5568",
  completed: "#2b7a4b", failed: "#b3261e", cancelled: "#6b6860",
};
const NAMES = {
  queue: "queue", run: "running", replay: "replayed from the journal", task: "task", model: "model call", tool: "tool", retrieval: "search",
  wait: "waits for a human", kill: "process lost", relay: "relay", backoff: "backed off", retry: "retried",
  completed: "completed", failed: "failed", cancelled: "cancelled",
};
const LANES = ["Run", "Tasks", "Model", "Search", "Tools", "Human"];
const WIDTH = 960;
const LEFT = 76;
const ROW = 30;
const BAR = 18;

export function timeline(job, events) {
  const last = events[events.length - 1];
  const now = job.timestamps.finished_at ? Date.parse(job.timestamps.finished_at) : Math.max(last ? Date.parse(last.at) : 0, Date.now());
  const { spans, moments } = spansOf(events, now);
  const picture = drawn(spans, moments, job);
  const shown = Object.keys(NAMES).filter(kind => [...spans, ...moments].some(each => each.kind === kind));
  const store = () => save(`${job.job_id}.svg`, new Blob([standalone(picture)], { type: "image/svg+xml" }));
  return h("section", { class: "card", "aria-labelledby": "timeline" },
    h("div", { class: "heading" }, h("h2", { id: "timeline" }, "Timeline"),
      events.length > 0 && h("button", { type: "button", class: "quiet", on: { click: store } }, "Save as SVG")),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "The timeline as a picture" }, picture),
    h("ul", { class: "legend" }, shown.map(kind => h("li", { class: `at-${kind}` }, NAMES[kind]))),
    h("details", {}, h("summary", {}, `All ${number(events.length)} events`), table(events)));
}

function drawn(spans, moments, { receipt, timestamps }) {
  const lanes = LANES.filter(lane => spans.some(each => each.lane === lane));
  const { place, cuts } = axisOf(spans, moments, WIDTH - LEFT - 14);
  const x = at => LEFT + place(at);
  const bottom = 22 + lanes.length * ROW;
  const y = lane => 22 + lanes.indexOf(lane) * ROW + (ROW - BAR) / 2;
  const total = timestamps.finished_at ? `, ${duration((Date.parse(timestamps.finished_at) - Date.parse(timestamps.created_at)) / 1000)} in all` : "";
  const title = `Timeline: ${plural(receipt.calls_paid, "call")} paid, ${receipt.calls_replayed} replayed, ${cost(receipt.cost_usd)}${total}`;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${bottom + 26}`, role: "img", class: "timeline", "font-family": "system-ui, sans-serif", "font-size": 12 },
    s("title", {}, title),
    lanes.map(lane => [
      s("line", { class: "rule", x1: LEFT, x2: WIDTH - 14, y1: y(lane) + BAR / 2, y2: y(lane) + BAR / 2, stroke: "#e6e2d8" }),
      s("text", { class: "lane", x: 0, y: y(lane) + BAR - 5, fill: "#5c5850" }, lane),
    ]),
    spans.map(each => span(each, x, y)),
    cuts.map(({ from, to, seconds }) => s("text", { class: "cut", x: LEFT + (from + to) / 2, y: 14, "text-anchor": "middle", fill: "#5c5850" }, `⋯ ${duration(seconds)} ⋯`)),
    moments.map(({ kind, at, about }) => s("g", {}, s("title", {}, about),
      s("line", { class: `at-${kind}`, x1: x(at), x2: x(at), y1: 20, y2: bottom, stroke: COLOURS[kind], "stroke-width": 1.5, "stroke-dasharray": kind === "kill" ? "4 3" : null }),
      kind === "kill"
        ? s("path", { class: `at-${kind}`, d: `M${x(at) - 5} ${bottom - 1}l10 10m0 -10l-10 10`, stroke: COLOURS[kind], "stroke-width": 2.5 })
        : s("circle", { class: `at-${kind}`, cx: x(at), cy: bottom + 4, r: 5, fill: COLOURS[kind] }))),
    s("text", { class: "lane", x: LEFT, y: bottom + 22, fill: "#5c5850" }, title.slice("Timeline: ".length)));
}

function span({ lane, kind, from, to, label, about }, x, y) {
  const width = Math.max(2.5, x(to) - x(from));
  const room = Math.floor((width - 10) / 6.5);
  const text = label.length > room ? (room > 3 ? `${label.slice(0, room - 1)}…` : "") : label;
  return s("g", {}, s("title", {}, about),
    s("rect", { class: `at-${kind}`, x: x(from), y: y(lane), width, height: BAR, rx: Math.min(4, width / 2), fill: COLOURS[kind] }),
    text && s("text", {
      class: "label", y: y(lane) + 13, fill: "#1d1c1a",
      ...(kind === "run" ? { x: x(from) + width - 6, "text-anchor": "end" } : { x: x(from) + 6 }), // a replay is at a run's begin
    }, text));
}

/** The picture as a file: on white, with its size, in the colours of its attributes. */
function standalone(picture) {
  const copy = picture.cloneNode(true);
  const [, , width, height] = picture.getAttribute("viewBox").split(" ");
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.prepend(s("rect", { width, height, fill: "#ffffff" }));
  return new XMLSerializer().serializeToString(copy);
}

function table(events) {
  const about = event => {
    if (event.event === "call") return described(event);
    if (event.event === "task_started") return `${event.task} of ${event.of}: ${event.name}, by ${event.agent}`;
    return event.error || (event.fence && `run ${event.fence}`) || (event.task && `task ${event.task}`) || "";
  };
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "All events" }, h("table", {},
    h("thead", {}, h("tr", {}, ["No.", "Time", "Event", "About it"].map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, events.map(event => h("tr", {},
      h("td", {}, number(event.number)), h("td", {}, exact(event.at)), h("td", {}, event.event.replaceAll("_", " ")), h("td", {}, about(event)))))));
}
