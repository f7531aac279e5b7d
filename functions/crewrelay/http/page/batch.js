// Many runs at once: the upload, and how far they are.

import { ask, get, newKey, repeat } from "./api.js";
import { confirmed, h, s, save, say } from "./dom.js";
import { number, plural, short } from "./format.js";
import { button, heading, labelled, problem, when } from "./parts.js";
import { itemsOf } from "./topics.js";

const MOST = 1000;
const STATES = ["completed", "running", "waiting", "pending", "failed", "cancelled", "rejected", "missing"];
/** Outcomes of uploads of this page by batch: the API tells them once. @type {Map<string, any[]>} */
const refused = new Map();

/** @param {HTMLElement} main @param {import("./view.js").View} view */
export async function newBatch(main, { signal, failed }) {
  const { crews } = await get("crewai/crews", { signal });
  const place = h("div");
  const found = h("p", { class: "hint", role: "status" });
  const text = h("textarea", { id: "topics", rows: 10, spellcheck: "false", placeholder: "neural networks\nwrite-ahead logging\n…", on: { input: count } });
  const file = h("input", { id: "file", type: "file", accept: ".csv,.jsonl,.ndjson,.txt,text/csv,text/plain", on: { change: async () => {
    if (file.files[0]) text.value = await file.files[0].text();
    count();
  } } });
  const language = h("input", { id: "language", type: "text", value: "en" });
  const crew = h("select", { id: "crew" }, crews.filter(one => !one.fault).map(one => h("option", { value: one.name }, one.name)));
  const go = h("button", { class: "primary" }, "Start them");
  const items = () => itemsOf(text.value, crew.value, language.value.trim());
  let sent = "";
  let key = "";

  function count() {
    place.replaceChildren();
    try {
      found.textContent = text.value.trim() ? `${plural(items().length, "job")} will be started.` : "";
    } catch (error) {
      found.textContent = error.message;
    }
  }

  async function start(event) {
    event.preventDefault();
    go.disabled = true;
    try {
      const body = { items: items() };
      if (!body.items.length) throw new Error("There is no topic yet.");
      if (body.items.length > MOST) throw new Error(`These are ${number(body.items.length)}. At most ${number(MOST)} can be sent at once.`);
      if (JSON.stringify(body) !== sent) key = newKey(); // the same again starts nothing twice
      sent = JSON.stringify(body);
      const accepted = await (await ask("POST", "crewai/run/batch", { body, headers: { "Idempotency-Key": key }, signal })).json();
      refused.set(accepted.batch_id, accepted.items.filter(one => one.problem));
      location.hash = `#/batches/${accepted.batch_id}`;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return failed(error);
      place.replaceChildren(problem(error));
    } finally {
      go.disabled = false;
    }
  }

  main.replaceChildren(heading("Batch"),
    h("form", { class: "card", novalidate: true, on: { submit: start } },
      labelled("Topics", text, "One per line, or CSV with a column topic (and language, custom_id), or JSON Lines. Up to 1,000."),
      labelled("Or a file", file),
      h("div", { class: "pair" }, labelled("Crew", crew), labelled("Language", language, "Of topics that name none.")),
      found, place, h("div", { class: "row" }, go)));
  text.focus();
}

/** @param {HTMLElement} main @param {import("./view.js").View} view */
export async function batch(main, { signal, failed }, id) {
  const path = `crewai/batches/${id}`;
  const place = h("div");
  const body = h("div");
  let told = false;
  const cancel = button("Cancel the rest", place, async () => {
    if (!await confirmed("Cancel all jobs of this batch that have not ended?", "Cancel them")) return;
    show(await (await ask("POST", `${path}/cancel`)).json());
  });
  const results = button("Save the results", place, () => resultsOf(path, signal).then(blob => save(`${short(id)}.jsonl`, blob)));

  function show({ counts, finished, created_at }) {
    const done = counts.completed + counts.failed + counts.cancelled + counts.rejected;
    cancel.hidden = finished;
    body.replaceChildren(
      h("p", { class: "large" }, `${number(done)} of ${number(counts.total)}`, h("span", { class: "small" }, " have ended · submitted ", when(created_at))),
      h("div", { class: "stack", role: "img", "aria-label": STATES.filter(one => counts[one]).map(one => `${counts[one]} ${one}`).join(", ") }, bar(counts)),
      h("ul", { class: "legend" }, STATES.filter(one => counts[one]).map(one =>
        h("li", { class: `is-${one}` }, h("strong", {}, number(counts[one])), ` ${one}`))));
    if (finished && !told) say("All jobs of the batch have ended");
    told = finished;
  }

  const first = await get(path, { signal });
  show(first);
  main.replaceChildren(
    heading(`Batch ${short(id)}`, h("a", { class: "button", href: `#/?batch=${id}` }, "Its jobs"), results, cancel),
    h("section", { class: "card", "aria-label": "Progress" }, body, place),
    rejections(refused.get(id) || []));
  await repeat(signal, async () => {
    const now = await get(path, { signal });
    show(now);
    return now.finished ? false : now.counts.total > 200 ? 4000 : 1500; // each look reads a row per job
  }, failed);
}

/** Widths are attributes of SVG, which need no style. */
function bar(counts) {
  let at = 0;
  return s("svg", { viewBox: `0 0 ${counts.total} 1`, preserveAspectRatio: "none" }, STATES.map(state => {
    at += counts[state];
    return s("rect", { class: `is-${state}`, x: at - counts[state], width: counts[state], height: 1 });
  }));
}

const rejections = found => h("div", {}, found.length > 0 && h("section", { class: "card", "aria-label": "Not started" },
  h("h2", {}, `${plural(found.length, "item")} not started`),
  h("ul", { class: "plain" }, found.map(one => h("li", {}, h("span", { class: "id" }, one.custom_id), ` ${one.problem.detail}`)))));

/** All lines so far; `Link` leads from one part to the next. */
async function resultsOf(path, signal) {
  const parts = [];
  let next = `${path}/results`;
  while (next) {
    const given = await ask("GET", next, { signal, headers: { Accept: "application/jsonl" } });
    parts.push(await given.blob());
    const after = given.headers.get("link")?.match(/[?&]after=(\d+)/);
    next = after ? `${path}/results?after=${after[1]}` : "";
  }
  return new Blob(parts, { type: "application/jsonl" });
}
