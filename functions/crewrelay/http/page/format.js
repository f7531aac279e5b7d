// Numbers and times as people read them.

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const NUMBER = new Intl.NumberFormat("en");

export const number = value => NUMBER.format(value);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** "3 minutes ago" */
export function ago(time, now = Date.now()) {
  const seconds = (Date.parse(time) - now) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= Number(size)) || ["second", 1];
  return Math.abs(seconds) < 5 ? "just now" : AGO.format(Math.round(seconds / Number(size)), /** @type {any} */ (unit));
}

/** "1 min 4 s" */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / 1440)} d`;
}

export function took({ started_at, finished_at }, now = Date.now()) {
  return started_at ? duration(((finished_at ? Date.parse(finished_at) : now) - Date.parse(started_at)) / 1000) : "";
}

export function cost(usd) {
  if (usd === null || usd === undefined) return "unknown";
  if (usd === 0) return "$0";
  return usd < 0.01 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(2)}`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const exact = time => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
export const short = id => id.slice(0, 8);
