// Starts a run of a crew.

import { ask, get, newKey } from "./api.js";
import { h } from "./dom.js";
import { fieldsOf } from "./fields.js";
import { empty, heading, labelled, problem } from "./parts.js";

/** @param {HTMLElement} main @param {import("./view.js").View} view */
export async function submit(main, { signal, failed }) {
  const { crews } = await get("crewai/crews", { signal });
  const able = crews.filter(crew => !crew.fault);
  if (!able.length) {
    main.replaceChildren(heading("New run"), empty("No crew can run", crews[0]?.fault || "This deployment has no crew."));
    return;
  }
  const place = h("div");
  const select = h("select", { id: "crew", on: { change: () => choose(select.value) } },
    able.map(crew => h("option", { value: crew.name }, crew.name)));
  const about = h("p", { class: "hint" });
  const inputs = h("div");
  const go = h("button", { class: "primary" }, "Start the run");
  let fields = fieldsOf({});

  function choose(name) {
    const crew = able.find(one => one.name === name);
    const tasks = crew.tasks.length ? ` Tasks: ${crew.tasks.join(", ")}.` : "";
    about.textContent = `${crew.description}${tasks}${crew.asks.length ? " It asks you before it goes on." : ""}`;
    fields = fieldsOf(crew.inputs);
    inputs.replaceChildren(...fields.boxes);
    place.replaceChildren();
    key = newKey();
  }

  let key = ""; // of one run: sent again, it starts no second one
  let sent = "";
  async function start(event) {
    event.preventDefault();
    const values = fields.values();
    if (!values) return;
    const body = { crew: select.value, inputs: values };
    if (JSON.stringify(body) !== sent) key = newKey();
    sent = JSON.stringify(body);
    go.disabled = true;
    try {
      const job = await (await ask("POST", "crewai/run/async", { body, headers: { "Idempotency-Key": key }, signal })).json();
      location.hash = `#/jobs/${job.job_id}`;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return failed(error);
      const others = fields.complain(error.errors || []);
      if (!error.errors?.length || others.length) place.replaceChildren(problem(others.length ? { message: others.join("; "), remedy: error.remedy } : error));
    } finally {
      go.disabled = false;
    }
  }

  main.replaceChildren(heading("New run"),
    h("form", { class: "card", novalidate: true, on: { submit: start } },
      able.length > 1 ? labelled("Crew", select) : null, about, inputs, place, h("div", { class: "row" }, go)));
  choose(able[0].name);
  main.querySelector("select, textarea, input")?.focus();
}
