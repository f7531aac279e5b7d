// Requests to the API: with the token, problems as exceptions, and waits that rest while nobody looks.

/** The API's address: behind a stage, with the stage. */
const BASE = new URL("../../", import.meta.url).href;
const TOKEN = "crewrelay.token"; // in this tab alone, until it is closed

/** What the API refused, with what to do about it. */
export class Problem extends Error {
  /** @param {number} status @param {any} said */
  constructor(status, said) {
    super(said.detail || `The answer was ${status}.`);
    this.status = status;
    this.remedy = said.remedy || "";
    /** @type {{field: string, message: string}[]} */
    this.errors = said.errors || [];
  }
}

export const session = {
  get token() { return sessionStorage.getItem(TOKEN); },
  /** @param {string | null} token */
  set token(token) {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  },
};

/**
 * @param {string} method
 * @param {string} path relative to the API
 * @param {{body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} of status 2xx or 304
 */
export async function ask(method, path, { body, headers = {}, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (session.token) sent.Authorization = `Bearer ${session.token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  const answer = await fetch(new URL(path, BASE), { method, body: text, headers: sent, signal, cache: "no-store", credentials: "omit" });
  if (answer.ok || answer.status === 304) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}

/** The JSON of a GET. */
export async function get(path, options) {
  return (await ask("GET", path, options)).json();
}

/** An idempotency key. `crypto.randomUUID` is there with HTTPS alone. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");

/** A path with a query, without what is empty. */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** After some milliseconds, and not before somebody looks. */
export function pause(milliseconds, signal) {
  return new Promise(resolve => {
    const done = () => {
      if (document.hidden && !signal.aborted) return document.addEventListener("visibilitychange", done, { once: true });
      clearTimeout(timer);
      resolve(undefined);
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done, { once: true });
  });
}

/**
 * Does `step` again and again until it answers false or the view is left. A network that fails is told, and tried again.
 * @param {AbortSignal} signal
 * @param {() => Promise<number | false>} step milliseconds until the next
 * @param {(error: any) => void} failed
 */
export async function repeat(signal, step, failed) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      const wait = await step();
      if (failures) tellOutage(false);
      failures = 0;
      if (wait === false) return;
      await pause(wait, signal);
    } catch (error) {
      if (signal.aborted) return;
      const passes = !(error instanceof Problem) || error.status === 429 || error.status >= 500;
      if (!passes) return failed(error);
      tellOutage(true);
      await pause(Math.min(30000, 1000 * 2 ** failures++), signal);
    }
  }
}

export function tellOutage(is) {
  const banner = document.getElementById("banner");
  if (!banner) return;
  banner.hidden = !is;
  banner.textContent = is ? "The service does not answer at the moment. Trying again." : "";
}
