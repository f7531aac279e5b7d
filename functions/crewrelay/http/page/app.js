// The page: which view is shown, and who is signed in.

import { session, tellOutage } from "./api.js";
import { batch, newBatch } from "./batch.js";
import { h } from "./dom.js";
import { job } from "./job.js";
import { jobs } from "./jobs.js";
import { heading, problem } from "./parts.js";
import { signIn } from "./sign_in.js";
import { submit } from "./submit.js";

/** @type {[RegExp, (main: HTMLElement, view: import("./view.js").View, ...parts: string[]) => Promise<void>, string][]} */
const VIEWS = [
  [/^\/(?:\?(.*))?$/, jobs, "Jobs"],
  [/^\/new$/, submit, "New run"],
  [/^\/batch$/, newBatch, "Batch"],
  [/^\/jobs\/([\w-]+)$/, job, "Job"],
  [/^\/batches\/([\w-]+)$/, batch, "Batch"],
];
const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const signOut = /** @type {HTMLButtonElement} */ (document.getElementById("session"));
let left = new AbortController();

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return; // a place within the view
  left.abort();
  left = new AbortController();
  const { signal } = left;
  const path = location.hash.slice(1) || "/";
  const [pattern, view, title] = VIEWS.find(([pattern]) => pattern.test(path)) || VIEWS[0];
  document.title = `${title} · crewrelay`;
  mark(path);
  tellOutage(false);
  signOut.hidden = !session.token;
  signOut.textContent = "Sign out";
  const failed = error => {
    if (signal.aborted) return;
    if (error.status === 401) signIn(main, error, show);
    else main.replaceChildren(heading(error.status === 404 ? "Not here" : "That did not work"), problem(error), h("p", {}, h("a", { href: "#/" }, "Back to the jobs")));
  };
  main.replaceChildren(h("p", { class: "loading" }, "Loading…"));
  try {
    await view(main, { signal, failed }, ...(path.match(pattern) || []).slice(1));
  } catch (error) {
    failed(error);
  }
}

function mark(path) {
  const now = path === "/new" ? "#/new" : path.startsWith("/batch") ? "#/batch" : "#/";
  for (const each of document.querySelectorAll(".bar nav a"))
    if (each.getAttribute("href") === now) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
}

signOut.addEventListener("click", () => {
  session.token = null;
  show();
});
addEventListener("hashchange", () => {
  show();
  if (!location.hash || location.hash.startsWith("#/")) main.focus({ preventScroll: true });
});
document.querySelector(".skip")?.addEventListener("click", event => {
  event.preventDefault();
  main.focus();
});
show();
