// A job's answer with the passages that it cites, its files, and the text on its own.

import { ask } from "./api.js";
import { h, link, save } from "./dom.js";
import { size } from "./format.js";
import { markdown } from "./markdown.js";
import { button } from "./parts.js";

export function answer(job) {
  const place = h("div");
  const passages = new Map(job.sources.map(source => [source.number, passage(source)]));
  const open = number => {
    const chosen = passages.get(number);
    chosen.open = true;
    chosen.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    chosen.querySelector("summary").focus({ preventScroll: true });
  };
  const cite = number => passages.has(number)
    ? h("button", { type: "button", class: "cite", "aria-label": `Open passage ${number}`, on: { click: () => open(number) } }, String(number))
    : null;
  const text = job.result;
  return h("section", { class: "card", "aria-labelledby": "answer" },
    h("div", { class: "heading" }, h("h2", { id: "answer" }, "Answer"), text && h("div", { class: "row" },
      button("Copy", place, () => navigator.clipboard.writeText(text), { class: "quiet" }),
      h("button", { type: "button", class: "quiet", on: { click: () => save(`${job.job_id}.md`, new Blob([text], { type: "text/markdown" })) } }, "Save"))),
    job.answerable === false && h("p", { class: "note" }, "The crew found nothing in its documents that answers this."),
    text !== null ? h("div", { class: "prose" }, markdown(text, cite)) : large(job.result_url),
    passages.size > 0 && [h("h3", {}, "Sources"), h("div", { class: "sources" }, [...passages.values()])],
    job.files?.length && [h("h3", {}, "Files"), h("ul", { class: "files" }, job.files.map(one => file(one, place)))],
    place);
}

const large = address => h("p", { class: "note" }, "This answer is too large to be shown here. ",
  address && link(address, "Fetch it as JSON"), address && " (the address is valid for an hour).");

function passage({ number, title, url, text, excerpt }) {
  const [before, found, after] = parts(text, excerpt);
  return h("details", {},
    h("summary", {}, h("span", { class: "number" }, String(number)), title || "Passage"),
    h("p", { class: "passage" }, before, found && h("mark", {}, found), after),
    url && h("p", { class: "small" }, link(url, url)));
}

/** A passage around the part of it that was found. */
function parts(text, excerpt) {
  const at = excerpt ? text.indexOf(excerpt) : -1;
  return at < 0 ? [text, "", ""] : [text.slice(0, at), excerpt, text.slice(at + excerpt.length)];
}

function file({ name, size: bytes, url }, place) {
  const number = url?.split("/").pop();
  return h("li", {},
    url ? button(name, place, () => fetched(name, new URL(url).pathname, number), { class: "link" }) : h("span", {}, name),
    h("span", { class: "small" }, size(bytes), !url && ", too large to be kept"));
}

/** A file needs the token, which a link can't send. One in a bucket is given by its address. */
async function fetched(name, path) {
  const given = await ask("GET", `${path}?redirect=false`, { headers: { Accept: "*/*" } });
  if (given.headers.get("content-type")?.startsWith("application/json")) {
    h("a", { href: (await given.json()).url, rel: "noreferrer" }).click();
  } else {
    save(name.split("/").pop(), await given.blob());
  }
}
