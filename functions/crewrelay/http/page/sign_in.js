// Asks for a token. It is kept in this tab alone, and never in an address.

import { session } from "./api.js";
import { h } from "./dom.js";
import { labelled } from "./parts.js";

export function signIn(main, refusal, again) {
  const wrong = session.token ? refusal.message : "";
  session.token = null;
  const field = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const box = labelled("Token", field, "It begins with crt_. Whoever runs this service creates it with `crewrelay token create`.");
  box.complain(wrong);
  main.replaceChildren(h("form", { class: "card narrow", on: { submit: event => {
    event.preventDefault();
    session.token = field.value.trim();
    again();
  } } },
    h("h1", {}, "Sign in"),
    box,
    h("div", { class: "row" }, h("button", { class: "primary" }, "Sign in")),
    h("p", { class: "hint" }, "The token stays in this tab until you sign out or close it.")));
  field.focus();
}
