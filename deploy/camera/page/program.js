import { byId, chip } from "./places.js";
import { shared } from "./state.js";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The token comes in the address's fragment, which no server and no log sees, and leaves the address at once.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  giveToken(given);
}

export function giveToken(token) {
  sessionStorage.setItem("lc2fer-token", token);
  lock(false);
}

function lock(on, text) {
  shared.locked = on;
  byId("key").hidden = !on;
  byId("main").hidden = on;
  if (on) {
    if (sessionStorage.getItem("lc2fer-token") !== null) byId("key-text").textContent = text;
    sessionStorage.removeItem("lc2fer-token");
    chip("locked", "locked");
    byId("key-token").focus();
  }
}

export async function call(path, options = {}) {
  const token = sessionStorage.getItem("lc2fer-token");
  const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const { error: text } = await response.json().catch(() => ({}));
  if (response.status === 401 && !shared.locked) {
    // The answer may be to a request of before: a token that was given since is not judged by it.
    if (sessionStorage.getItem("lc2fer-token") !== token) return call(path, options);
    lock(true, text);
  }
  throw Object.assign(new Error(text ?? `The program answered ${response.status}.`), { status: response.status });
}

export async function awake() {
  while (document.hidden || shared.locked) await sleep(200);
}
