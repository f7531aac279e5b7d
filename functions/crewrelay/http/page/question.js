// What a job asks a human, and the answer.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { exact } from "./format.js";
import { markdown } from "./markdown.js";
import { button, labelled } from "./parts.js";

/** @param {any} job @param {(status: any) => void} answered */
export function question(job, answered) {
  const { id, message, task, output, options, default: otherwise, expires_at } = job.waiting;
  const place = h("div");
  const feedback = h("textarea", { id: "feedback", rows: 4 });
  const send = async option => {
    const body = { id, ...(option === undefined ? { feedback: feedback.value } : { option, ...(feedback.value && { feedback: feedback.value }) }) };
    answered(await (await ask("POST", `crewai/jobs/${job.job_id}/resume`, { body })).json());
  };
  return h("section", { class: "card ask", "aria-labelledby": "asked" },
    h("h2", { id: "asked" }, "It waits for you"),
    h("p", {}, message),
    output && h("details", { open: true }, h("summary", {}, task ? `What ${task} made` : "What is to be judged"),
      h("div", { class: "prose quoted", tabindex: "0", role: "region", "aria-label": "What is to be judged" }, markdown(output))),
    labelled("Feedback", feedback, options.length ? "Optional beside one of the options." : "Left empty, it is accepted as it is."),
    h("div", { class: "row" },
      options.map(option => button(option, place, () => send(option))),
      !options.length && button("Send", place, () => send(), { class: "primary" }),
      options.length > 0 && button("Send the feedback alone", place, () => send())),
    expires_at && h("p", { class: "hint" }, `Until ${exact(expires_at)}. Then it ${otherwise === null ? "fails" : `goes on with “${otherwise}”`}.`),
    place);
}
