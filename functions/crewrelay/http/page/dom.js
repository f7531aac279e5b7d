// Makes nodes. Text is set as text and never parsed as HTML, and an address is checked: nothing that comes from a job can run.

const SAFE = /^(?:https?:\/\/|mailto:|blob:|#|\/(?!\/))/i;
const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An HTML element. `on` has listeners by event, `class` and all else are attributes; false and null leave one out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. @returns {any} */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value === false || value === null || value === undefined) continue;
    else if (name === "value") element.value = value;
    else if ((name === "href" || name === "src") && !SAFE.test(value)) continue;
    else if (name.startsWith("on") || name === "style" || name === "srcdoc") throw new TypeError(`no attribute: ${name}`);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) // one by one: a text of megabytes has more nodes than a call takes arguments
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/** A link to another site, or only its text if the address is none that may be followed. */
export function link(address, ...children) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(address)) return h("span", {}, ...children);
  return h("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}

/** Tells screen readers. */
export function say(text) {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
}

/** A question in a dialog. @returns {Promise<boolean>} */
export function confirmed(question, answer) {
  return new Promise(resolve => {
    const dialog = h("dialog", { "aria-label": question, on: { close: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } } },
      h("p", {}, question),
      h("div", { class: "row" },
        h("button", { type: "button", class: "danger", on: { click: () => dialog.close("yes") } }, answer),
        h("button", { type: "button", on: { click: () => dialog.close("no") } }, "Keep it")));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Lets the browser save something under a name. */
export function save(name, blob) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
