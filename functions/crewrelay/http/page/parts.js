// Parts that several views show.

import { h } from "./dom.js";
import { ago, exact } from "./format.js";

/** A status, told by word and colour. */
export const badge = status => h("span", { class: `badge is-${status}` }, status);

export const when = time => h("time", { datetime: time, title: exact(time) }, ago(time));

/** What was refused, and what to do. */
export function problem(error) {
  return h("div", { class: "problem", role: "alert" },
    h("p", { class: "strong" }, error.message || String(error)),
    error.remedy && h("p", {}, error.remedy));
}

export const empty = (title, text, ...actions) =>
  h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), h("div", { class: "row centre" }, ...actions));

/** A heading with what can be done beside it. */
export const heading = (title, ...actions) =>
  h("div", { class: "heading" }, h("h1", {}, title), h("div", { class: "row" }, ...actions));

/** Runs once at a time: the button is off until it is done, and what goes wrong is shown in `place`. */
export function button(label, place, act, options = {}) {
  const element = h("button", { type: "button", ...options, on: { click: async () => {
    element.disabled = true;
    try {
      await act();
      place.replaceChildren();
    } catch (error) {
      place.replaceChildren(problem(error));
    } finally {
      element.disabled = false;
    }
  } } }, label);
  return element;
}

/** A label, its field, what it says, and what is wrong with it. */
export function labelled(label, field, hint = "") {
  const id = field.id;
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
  const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(" ");
  field.setAttribute("aria-describedby", described);
  const box = h("div", { class: "field" },
    h("label", { for: id }, label),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    field, wrong);
  box.complain = message => {
    wrong.hidden = !message;
    wrong.textContent = message;
    if (message) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  return box;
}
