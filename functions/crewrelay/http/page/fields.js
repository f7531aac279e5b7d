// A form made from a crew's inputs, which are a JSON schema.

import { h } from "./dom.js";
import { labelled } from "./parts.js";

const LONG = 2000; // characters above which a text has several lines

/**
 * @param {any} schema of the inputs
 * @returns {{boxes: HTMLElement[], values: () => Record<string, any> | null, complain: (errors: {field: string, message: string}[]) => string[]}}
 */
export function fieldsOf(schema) {
  const required = new Set(schema.required || []);
  const fields = Object.entries(schema.properties || {}).map(([name, one]) => field(name, bare(one), required.has(name)));
  const by = new Map(fields.map(each => [each.name, each]));
  return {
    boxes: fields.map(each => each.box),
    values() {
      const found = {};
      let sound = true;
      for (const each of fields) {
        each.box.complain("");
        try {
          const value = each.read();
          if (value !== undefined) found[each.name] = value;
        } catch (error) {
          each.box.complain(error.message);
          if (sound) each.control.focus();
          sound = false;
        }
      }
      return sound ? found : null;
    },
    /** Shows errors at their fields, and returns those that belong to none. */
    complain(errors) {
      const others = [];
      let first = true;
      for (const { field, message } of errors) {
        const place = field.split(".").map(part => by.get(part)).find(Boolean);
        if (!place) {
          others.push(field ? `${field}: ${message}` : message);
          continue;
        }
        place.box.complain(message);
        if (first) place.control.focus();
        first = false;
      }
      return others;
    },
  };
}

/** The schema of what is not null. */
function bare(schema) {
  const branch = (schema.anyOf || []).find(one => one.type !== "null");
  return branch ? { ...schema, ...branch } : schema;
}

function field(name, schema, needed) {
  const [control, parse] = controlOf(`input-${name}`, name, schema);
  const limits = [
    schema.description,
    !needed && schema.default === undefined && "Optional.",
    parse === asJson && "As JSON.",
    parse === asLines && "One per line.",
  ];
  const box = labelled(title(name), control, limits.filter(Boolean).join(" "));
  if (needed && control.type !== "checkbox") control.setAttribute("aria-required", "true");
  const read = () => {
    if (control.type === "checkbox") return control.checked;
    const text = control.value;
    if (text.trim() === "") {
      if (needed) throw new Error("Please fill this in.");
      return undefined;
    }
    return parse(text);
  };
  return { name, box, control, read };
}

/** The element, and what makes a value of its text. */
function controlOf(id, name, schema) {
  const first = schema.default ?? (name === "language" && schema.type === "string" ? navigator.language.split("-")[0] : "");
  const example = schema.examples?.[0];
  const placeholder = example === undefined ? "" : `such as ${typeof example === "string" ? example : JSON.stringify(example)}`;
  if (schema.enum)
    return [h("select", { id }, schema.default === undefined && h("option", { value: "" }, "Choose…"),
      schema.enum.map(one => h("option", { value: one, selected: one === first }, one))), text => text];
  switch (schema.type) {
    case "boolean":
      return [h("input", { id, type: "checkbox", checked: first === true }), text => text];
    case "integer":
    case "number":
      return [h("input", { id, type: "text", inputmode: schema.type === "integer" ? "numeric" : "decimal", placeholder, value: first }),
        schema.type === "integer" ? asInteger : asNumber];
    case "string":
      if ((schema.maxLength || 0) > LONG) return [h("textarea", { id, rows: 8, placeholder, value: first }), text => text];
      if (name === "topic") return [h("textarea", { id, rows: 3, placeholder, value: first }), text => text.replace(/\s+/g, " ").trim()];
      return [h("input", { id, type: "text", placeholder, value: first }), text => text];
    case "array":
      if (schema.items?.type === "string") return [h("textarea", { id, rows: 4, value: [first].flat().join("\n") }), asLines];
  }
  const shown = first === "" ? "" : JSON.stringify(first, null, 2);
  return [h("textarea", { id, rows: 5, class: "mono", spellcheck: "false", placeholder, value: shown }), asJson];
}

function asNumber(text) {
  const value = Number(text.trim());
  if (!Number.isFinite(value)) throw new Error("Please write a number.");
  return value;
}

function asInteger(text) {
  const value = asNumber(text);
  if (!Number.isSafeInteger(value)) throw new Error("Please write a whole number.");
  return value;
}

function asJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("This is no JSON.");
  }
}

const asLines = text => text.split("\n").map(line => line.trim()).filter(Boolean);

const title = name => (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll("_", " ");
