// The list of jobs, kept up to date while it is looked at.

import { get, repeat, withQuery } from "./api.js";
import { h, say } from "./dom.js";
import { plural, short, took } from "./format.js";
import { badge, empty, heading, when } from "./parts.js";

const STATUSES = ["pending", "running", "waiting", "completed", "failed", "cancelled"];
const UNFINISHED = new Set(["pending", "running", "waiting"]);
const PAGE = 25;

/** @param {HTMLElement} main @param {import("./view.js").View} view */
export async function jobs(main, { signal, failed }, query = "") {
  const wanted = Object.fromEntries(new URLSearchParams(query));
  const { crews } = await get("crewai/crews", { signal });
  const choose = (name, value) => {
    const { [name]: _, ...others } = wanted;
    location.hash = withQuery("#/", value ? { ...others, [name]: value } : others);
  };
  const list = h("div", { "aria-live": "off" });
  const more = h("button", { type: "button", hidden: true, on: { click: () => { shown += PAGE; update().catch(failed); } } }, "Show older jobs");
  const filtered = Object.keys(wanted).length > 0;
  let shown = PAGE;
  let told = "";

  async function update() {
    const found = [];
    let cursor = null;
    do {
      const limit = Math.min(100, Math.max(1, shown - found.length));
      const page = await get(withQuery("crewai/jobs", { ...wanted, limit, cursor }), { signal });
      found.push(...page.jobs);
      cursor = page.next_cursor;
    } while (cursor && found.length < shown);
    more.hidden = !cursor;
    const now = JSON.stringify(found);
    if (now !== told) show(found);
    told = now;
    return found;
  }

  function show(found) {
    const focused = document.activeElement?.closest?.("[data-job]")?.getAttribute("data-job");
    list.replaceChildren(found.length ? table(found) : filtered ? nothingFits() : nothingYet());
    if (told) say(`${plural(found.length, "job")} shown`);
    if (focused) list.querySelector(`[data-job="${CSS.escape(focused)}"] a`)?.focus();
  }

  const select = (label, name, options) => h("label", { class: "filter" }, label,
    h("select", { on: { change: event => choose(name, event.target.value) } },
      h("option", { value: "" }, "any"),
      options.map(one => h("option", { value: one, selected: wanted[name] === one }, one))));
  main.replaceChildren(
    heading("Jobs", h("a", { class: "button primary", href: "#/new" }, "New run")),
    h("div", { class: "filters", role: "group", "aria-label": "Which jobs" },
      select("Status", "status", STATUSES),
      select("Crew", "crew", crews.map(one => one.name)),
      wanted.batch && h("span", { class: "filter" }, "Batch", h("a", { href: `#/batches/${wanted.batch}` }, short(wanted.batch))),
      filtered && h("a", { href: "#/" }, "Show all")),
    list, h("div", { class: "row centre" }, more));
  await repeat(signal, async () => {
    const found = await update();
    return found.some(each => UNFINISHED.has(each.status)) ? 2000 : 8000;
  }, failed);
}

const nothingYet = () => empty("No jobs yet", "A job is one run of a crew. Those you start appear here, newest first.",
  h("a", { class: "button primary", href: "#/new" }, "Start the first one"),
  h("a", { class: "button", href: "#/batch" }, "Upload many topics"));

const nothingFits = () => empty("No such jobs", "None of your jobs fits this choice.", h("a", { class: "button", href: "#/" }, "Show all"));

function table(found) {
  const names = ["Status", "Job", "Crew", "Submitted", "Took", "Attempts"];
  return h("table", { class: "list" },
    h("caption", { class: "unseen" }, "Jobs, newest first"),
    h("thead", {}, h("tr", {}, names.map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, found.map(row)));
}

function row(job) {
  const href = `#/jobs/${job.job_id}`;
  return h("tr", { "data-job": job.job_id },
    h("td", {}, badge(job.status)),
    h("td", {}, h("a", job.title ? { href } : { href, class: "id" }, job.title || short(job.job_id)),
      job.title && h("p", { class: "id small" }, short(job.job_id)),
      job.error && h("p", { class: "small clip" }, job.error.message)),
    h("td", {}, job.crew),
    h("td", {}, when(job.timestamps.created_at)),
    h("td", {}, took(job.timestamps) || "–"),
    h("td", {}, String(job.attempts)));
}
