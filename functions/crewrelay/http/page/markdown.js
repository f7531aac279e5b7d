// Markdown as nodes: headings, paragraphs, lists, quotes, tables, code, rules. HTML in it is text.

import { h } from "./dom.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])([ \t]+)(?=\S)/;
const ROW = /\|/;
const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;
const DEEPEST = 12; // levels of quotes and lists

/**
 * @param {string} text
 * @param {(number: number) => Node | null} cite makes the node of a citation `[n]`; null leaves it text
 * @returns {Node[]}
 */
export function markdown(text, cite = () => null) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const levels = lines.map(line => line.match(HEADING)?.[1].length || 6);
  const highest = levels.reduce((one, other) => Math.min(one, other), 6);
  return blocks(lines, { cite, highest, level: 2 }, 0);
}

function blocks(lines, context, depth) {
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) {
      at++;
      continue;
    }
    const [node, next] = block(lines, at, context, depth);
    nodes.push(node);
    at = next;
  }
  return nodes;
}

/** The block that begins at a line, and the line after it. */
function block(lines, at, context, depth) {
  const line = lines[at];
  const fence = line.match(FENCE);
  if (fence) return code(lines, at, fence[1]);
  const heading = line.match(HEADING);
  if (heading) return [title(heading[1].length, untailed(heading[2]), context), at + 1];
  if (RULE.test(line)) return [h("hr"), at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) {
    const end = endOf(lines, at, one => QUOTE.test(one));
    return [h("blockquote", {}, blocks(lines.slice(at, end).map(one => one.replace(QUOTE, "")), context, depth + 1)), end];
  }
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, context, depth);
  if (ROW.test(line) && isDelimiters(lines[at + 1] || "") && cells(line).length === cells(lines[at + 1]).length)
    return table(lines, at, context);
  const end = Math.max(at + 1, endOf(lines, at, (one, place) => one.trim() && (place === at || !begins(one, depth))));
  return [h("p", {}, inline(lines.slice(at, end).map(one => one.trimStart()).join("\n").trimEnd(), context.cite)), end];
}

/** A heading below the view's own: the highest is h3, and none is skipped on the way down. */
function title(level, text, context) {
  context.level = Math.min(6, 3 + level - context.highest, context.level + 1);
  return h(`h${context.level}`, {}, inline(text, context.cite));
}

/** A heading without the #s that may close it. */
function untailed(text) {
  const tail = text.trimEnd().split(" ").pop();
  return /^#+$/.test(tail) ? text.trimEnd().slice(0, -tail.length).trimEnd() : text.trimEnd();
}

const isDelimiters = line => line.length < 2000 && DELIMITERS.test(line.trim());

function endOf(lines, at, belongs) {
  let end = at;
  while (end < lines.length && belongs(lines[end], end)) end++;
  return end;
}

const begins = (line, depth) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || (depth < DEEPEST && (QUOTE.test(line) || ITEM.test(line)));

function code(lines, at, fence) {
  const closes = one => one.trim().startsWith(fence) && one.trim().replaceAll(fence[0], "") === "";
  const end = endOf(lines, at + 1, one => !closes(one));
  return [h("pre", { tabindex: "0" }, h("code", {}, lines.slice(at + 1, end).join("\n"))), Math.min(lines.length, end + 1)];
}

function list(lines, at, context, depth) {
  const ordered = /\d/.test(lines[at].match(ITEM)[2]);
  const first = ordered ? parseInt(lines[at].trim(), 10) : 1;
  const items = [];
  while (at < lines.length) {
    const item = lines[at].match(ITEM);
    if (!item || RULE.test(lines[at]) || /\d/.test(item[2]) !== ordered) break;
    const indent = item[1].length + item[2].length + Math.min(item[3].length, 4);
    let end = at + 1;
    while (end < lines.length) {
      const line = lines[end];
      const inside = line.search(/\S/) >= Math.min(indent, 2) && !(line.search(/\S/) < indent && ITEM.test(line));
      const goesOn = line.trim() && lines[end - 1].trim() && !begins(line, depth);
      const blank = !line.trim() && (lines[end + 1] || "").search(/\S/) >= Math.min(indent, 2);
      if (!inside && !goesOn && !blank) break;
      end++;
    }
    const own = lines.slice(at, end).map((line, place) => (place === 0 ? line.slice(item[0].length) : dedented(line, indent)));
    items.push(h("li", {}, tight(blocks(own, context, depth + 1))));
    at = end;
    const next = endOf(lines, at, line => !line.trim());
    if (next < lines.length && ITEM.test(lines[next])) at = next;
  }
  return [h(ordered ? "ol" : "ul", { start: ordered && first !== 1 ? first : null }, items), at];
}

const dedented = (line, indent) => line.slice(Math.min(indent, Math.max(0, line.search(/\S|$/))));

/** A single paragraph of an item needs no element of its own. */
const tight = nodes => nodes.flatMap((node, at) => (at === 0 && node.nodeName === "P" ? [...node.childNodes] : [node]));

function table(lines, at, context) {
  const aligned = cells(lines[at + 1]).map(cell => (cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "end") : null));
  const end = endOf(lines, at + 2, line => line.trim() && ROW.test(line));
  const row = (line, tag, more) => {
    const found = cells(line);
    return h("tr", {}, aligned.map((side, place) => h(tag, { class: side, ...more }, inline(found[place] || "", context.cite))));
  };
  return [h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", {},
    h("thead", {}, row(lines[at], "th", { scope: "col" })),
    h("tbody", {}, lines.slice(at + 2, end).map(line => row(line, "td", {}))))), end];
}

function cells(line) {
  const text = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return text.split(/(?<!\\)\|/).map(cell => cell.trim().replaceAll("\\|", "|"));
}
