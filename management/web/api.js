// SPDX-License-Identifier: Apache-2.0
// Asking the broker: requests with the session's proof, and what it tells by itself.

export class Refusal extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

// Told to the other tabs of this browser: they have the same cookie, and another user may have it now.
export const SIGNED = "signed";
const tell = () => localStorage.setItem(SIGNED, Math.random());

let session = null;
let onSignedOut = () => {};
let status = () => {};

// Whether the broker is there, each time that this turned out.
export const onLiveness = (action) => { status = action; };

export const user = () => session;
export const may = (ability) => session !== null && session.abilities.includes(ability);
export const whenSignedOut = (action) => { onSignedOut = action; };

export const part = (text) => encodeURIComponent(text);
export const queuePath = (vhost, queue) => `/api/queues/${part(vhost)}/${part(queue)}`;
export const deskPath = (vhost, queue, rest) =>
  `/api/bourse/queues/${part(vhost)}/${part(queue)}/${rest}`;

export function query(parameters) {
  const pairs = Object.entries(parameters).filter(([, value]) =>
    value !== undefined && value !== null && value !== "");
  return pairs.length === 0 ? "" : "?" + pairs.map(([name, value]) =>
    `${part(name)}=${part(value)}`).join("&");
}

// A browser leaves the names . and .. out of a path, and would ask about something else.
export async function ask(method, path, body) {
  if (/\/\.\.?([/?]|$)/.test(path)) throw new Refusal(0, "Say names . and .. on the command line.");
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (session !== null && method !== "GET") headers["X-Bourse-CSRF"] = session.csrf;
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, credentials: "same-origin", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    status(false);
    throw new Refusal(0, "The broker does not answer.");
  }
  status(true);
  const text = await answer.text();
  let value = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    value = text;
  }
  if (!answer.ok) {
    const reason = (value && value.reason) || `The broker refused with status ${answer.status}.`;
    if (answer.status === 401 && session !== null && /sign in again|Not logged in/.test(reason)) {
      session = null;
      onSignedOut("Your session is over. Sign in again.");
    }
    throw new Refusal(answer.status, reason);
  }
  return value;
}

export const get = (path) => ask("GET", path);

export async function resume() {
  try {
    session = await get("/api/bourse/session");
  } catch (error) {
    if (error.status === 0) throw error;
    session = null;
  }
}

export async function signIn(name, password) {
  session = null;
  session = await ask("POST", "/api/bourse/session", { name, password });
  tell();
}

// Who is not told that it is over is still signed in.
export async function signOut() {
  await ask("DELETE", "/api/bourse/session");
  tell();
  session = null;
  onSignedOut("");
}

// Watching -----------------------------------------------------------------------------------

const POLL_MS = 3000;
// The broker says something every fifteen seconds; a connection that says nothing for so long is gone,
// though nobody told.
const SILENCE_MS = 40000;

// Tells `listeners[i](value)` what GET paths[i] answers, now and whenever it has changed; by
// server-sent events, and by asking where these do not come. Gives a function that ends it.
export function watch(paths, listeners, failed = () => {}) {
  let source = null;
  let timer = 0;
  let isPolling = paths.length > 8 || typeof EventSource !== "function" ||
    new URLSearchParams(location.search).has("poll");
  let isOver = false;

  async function poll() {
    if (!document.hidden) {
      await Promise.all(paths.map(async (path, i) => {
        try {
          const value = await get(path);
          if (!isOver) listeners[i](value);
        } catch (error) {
          if (!isOver) failed(error, i);
        }
      }));
    }
    if (!isOver) timer = setTimeout(poll, POLL_MS);
  }

  function listen() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      status(false);
      source.close();
      begin();
    }, SILENCE_MS);
  }

  function begin() {
    const stream = new EventSource("/api/bourse/events?" +
      paths.map((path) => `watch=${part(path)}`).join("&"));
    source = stream;
    const on = (kind, action) => stream.addEventListener(kind, (event) => {
      listen();
      status(true);
      action(JSON.parse(event.data));
    });
    paths.forEach((path, i) => {
      on(`w${i}`, listeners[i]);
      on(`f${i}`, ({ reason }) => failed(new Refusal(404, reason), i));
    });
    on("alive", () => {});
    on("end", () => { stop(); get("/api/bourse/session").catch(() => {}); });
    stream.onerror = () => {
      status(false);
      if (stream.readyState === EventSource.CLOSED) {
        clearTimeout(timer);
        isPolling = true;
        poll();
      }
    };
    listen();
  }

  // A page that nobody sees asks for nothing.
  function onVisible() {
    if (isPolling) return;
    source.close();
    clearTimeout(timer);
    if (!document.hidden) begin();
  }

  function stop() {
    isOver = true;
    if (source) source.close();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisible);
  }

  document.addEventListener("visibilitychange", onVisible);
  if (isPolling) poll();
  else begin();
  return stop;
}
