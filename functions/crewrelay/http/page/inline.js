// Text within a block of Markdown: code, emphasis, links, citations.

import { h, link } from "./dom.js";

const DEEPEST = 6; // levels of emphasis
// Each branch begins with a character of its own and is bounded, so that reading takes linear time.
const TOKEN = new RegExp(
  [
    /\\([!-/:-@[-`{-~])/, // 1 escaped
    /(`{1,4})([^`]{1,2000})\2(?!`)/, // 2, 3 code
    /\[(\d{1,3})\](?![(:])/, // 4 citation
    /\[([^[\]\n]{1,300})\]\(\s{0,4}<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,500})?)>?(?:\s{1,4}"[^"\n]{0,300}")?\s{0,4}\)/, // 5, 6 link
    /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/, // 7 address
    /\*\*(?=\S)((?:[^*\n]|\*(?!\*)){1,2000}(?<=\S))\*\*/, // 8 strong
    /(?<!\w)__(?=\S)((?:[^_\n]|_(?!_)){1,2000}(?<=\S))__(?!\w)/, // 9 strong
    /(?<![\w*])([*_])(?=[^\s*_])([^*_\n]{0,2000}?[^\s*_])\10(?!\w)/, // 10, 11 emphasis
    /( {2,8}|\\)?\n/, // 12 line
  ].map(one => one.source).join("|"),
  "g",
);

/** @returns {(Node | string)[]} */
export function inline(text, cite, depth = 0) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(TOKEN)) {
    const before = text.slice(at, found.index);
    if (before) nodes.push(found[4] ? before.replace(/ $/, "\u00a0") : before); // no line begins with a citation
    nodes.push(...made(found, cite, depth));
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function made(found, cite, depth) {
  const [whole, escaped, , code, citation, label, address, plain, bold, strong, , emphasised, broken] = found;
  const within = text => (depth < DEEPEST ? inline(text, cite, depth + 1) : [text]);
  if (escaped) return [escaped];
  if (code) return [h("code", {}, code.trim())];
  if (citation) return [cite(Number(citation)) || whole];
  if (label) return [link(address, within(label))];
  if (plain) return [link(plain, plain.replace(/^mailto:/, ""))];
  if (bold || strong) return [h("strong", {}, within(bold || strong))];
  if (emphasised) return [h("em", {}, within(emphasised))];
  return [broken ? h("br") : "\n"];
}
