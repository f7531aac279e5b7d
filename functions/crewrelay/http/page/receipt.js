// What a job has cost, and what it was given.

import { h } from "./dom.js";
import { cost, number, plural } from "./format.js";

export function receipt({ receipt: paid, usage }) {
  const rows = [
    ["Cost", cost(paid.cost_usd), paid.cost_usd === null ? "the price of a model is not known" : ""],
    ["Calls paid", number(paid.calls_paid), ""],
    ["Calls replayed", number(paid.calls_replayed), "from the journal, for free"],
    ["Tokens in", number(paid.prompt_tokens), ""],
    ["Tokens out", number(paid.completion_tokens), ""],
    ["Attempts", number(paid.attempts), ""],
    ["Relays", number(paid.relays), "from one process to the next"],
    paid.restarts > 0 && ["Restarts", number(paid.restarts), "the crew had changed"],
    paid.diverged > 0 && ["In vain", plural(paid.diverged, "call"), "the crew asked something else when it was resumed"],
  ].filter(Boolean);
  const models = usage?.by_model || [];
  return h("section", { class: "card", "aria-labelledby": "receipt" },
    h("h2", { id: "receipt" }, "Receipt"),
    h("dl", { class: "figures" }, rows.map(([name, value, note]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value, note && h("span", { class: "small" }, note))))),
    models.length > 0 && h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Usage by model" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Model", "Calls", "In", "Out", "Cost"].map((name, at) => h("th", { scope: "col", class: at ? "end" : null }, name)))),
      h("tbody", {}, models.map(one => h("tr", {}, h("td", {}, one.model),
        [number(one.calls), number(one.prompt_tokens), number(one.completion_tokens), cost(one.cost_usd)].map(cell => h("td", { class: "end" }, cell))))))));
}

export function inputs({ inputs: given }) {
  const shown = value => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
  return h("dl", { class: "inputs" }, Object.entries(given).map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, shown(value)))));
}
