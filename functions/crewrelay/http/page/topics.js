// Reads many topics from text: one per line, CSV with a header, or JSON Lines.

/**
 * The items of a batch. Throws an Error that names the line.
 * @param {string} text
 * @param {string} crew
 * @param {string} language of items that name none
 * @returns {any[]}
 */
export function itemsOf(text, crew, language) {
  const sound = text.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
  const form = formOf(sound);
  if (form === "jsonl") return fromJsonLines(sound, crew, language);
  if (form === "csv") return fromCsv(sound, crew, language);
  return sound.split("\n").map(line => line.trim()).filter(Boolean).map(topic => item({ topic }, crew, language));
}

/** @returns {"jsonl" | "csv" | "lines"} */
export function formOf(text) {
  const first = text.trimStart().split("\n", 1)[0].trim();
  if (first.startsWith("{")) return "jsonl";
  const names = first.split(/[,;\t]/).map(name => name.trim().replace(/^"|"$/g, ""));
  return names.includes("topic") ? "csv" : "lines";
}

function item(given, crew, language) {
  const { custom_id, ...values } = given;
  const named = custom_id ? { custom_id: String(custom_id) } : {};
  if ("inputs" in values || "crew" in values) return { ...named, ...values };
  const { topic, language: own, ...others } = values;
  if (Object.keys(others).length) return { ...named, crew, inputs: { topic, language: own || language, ...others } };
  return { ...named, crew, topic, language: own || language };
}

function fromJsonLines(text, crew, language) {
  return text.split("\n").flatMap((line, at) => {
    if (!line.trim()) return [];
    try {
      const given = JSON.parse(line);
      if (typeof given !== "object" || given === null || Array.isArray(given)) throw new Error("no object");
      return [item(given, crew, language)];
    } catch {
      throw new Error(`Line ${at + 1} is no JSON object.`);
    }
  });
}

function fromCsv(text, crew, language) {
  const separator = (text.split("\n", 1)[0].match(/[,;\t]/) || [","])[0];
  const [names, ...rows] = records(text, separator);
  return rows.map((row, at) => {
    if (row.length > names.length) throw new Error(`Row ${at + 2} has ${row.length} fields, but the header ${names.length}.`);
    const filled = names.map((name, place) => [name.trim(), row[place] ?? ""]).filter(([, value]) => value !== "");
    return item(Object.fromEntries(filled), crew, language);
  });
}

/** RFC 4180: fields in quotes may hold separators, line ends and doubled quotes. */
function records(text, separator) {
  const rows = [];
  let row = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') field += letter;
      else if (text[at + 1] === '"') field += text[at++];
      else quoted = false;
    } else if (letter === '"' && field === "") quoted = true;
    else if (letter === separator || letter === "\n") {
      row.push(field);
      field = "";
      if (letter === "\n") {
        if (row.some(Boolean)) rows.push(row);
        row = [];
      }
    } else field += letter;
  }
  if (quoted) throw new Error("A quote is not closed.");
  row.push(field);
  if (row.some(Boolean)) rows.push(row);
  return rows;
}
