// What the page says to the service: the key, patience with a busy one, and errors as sentences.

const KEY = "scratch-key";
const TRIES = 30;
const LONG_POLL_S = 20;

let key = sessionStorage.getItem(KEY) ?? "";
let pausedUntil = 0;
let asking = null;
let askForKey = async () => "";

/** `ask` shows the form and resolves with a key; it is told whether one was refused. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** A refusal that says why; `final` is false where another try may help. */
export class Refused extends Error {
  constructor(message, final = true) {
    super(message);
    this.final = final;
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function headers(more = {}) {
  return key ? { ...more, "X-API-Key": key } : more;
}

async function newKey(refused) {
  if (refused !== key) return; // another request has got one meanwhile
  asking ??= askForKey(Boolean(key)).then((entered) => {
    key = entered;
    sessionStorage.setItem(KEY, key);
    asking = null;
  });
  await asking;
}

/** Sends again what a busy or unreachable service did not take; `send` resolves with {status, header, body}. */
async function patient(send, signal) {
  for (let attempt = 1; ; attempt += 1) {
    while (Date.now() < pausedUntil) await sleep(pausedUntil - Date.now());
    signal.throwIfAborted();
    const used = key;
    const answer = await send();
    if (answer.status === 401) {
      await newKey(used);
      attempt -= 1;
    } else if ([0, 429, 503].includes(answer.status) && attempt < (answer.status ? TRIES : 4)) {
      const seconds = Number(answer.header("Retry-After")) || Math.min(2 ** attempt / 2, 8);
      pausedUntil = Math.max(pausedUntil, Date.now() + seconds * 1000);
    } else {
      return answer;
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function upload(file, once, signal, onShare) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest(); // fetch cannot tell how far an upload is
    request.open("POST", "upload_image?wait=false&explain=true");
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": once })))
      request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.total && onShare(event.loaded / event.total);
    const answer = () =>
      done({ status: request.status, header: (name) => request.getResponseHeader(name), body: parsed(request.responseText) });
    request.onload = answer;
    request.onerror = answer;
    request.onabort = () => fail(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("file", file, "photo"); // its name says nothing about the surface
    request.send(form);
  });
}

async function ask(url, signal, options = {}) {
  try {
    const response = await fetch(url, { ...options, headers: headers(options.headers), signal });
    return { status: response.status, header: (name) => response.headers.get(name), body: parsed(await response.text()) };
  } catch (error) {
    if (signal.aborted) throw error;
    return { status: 0, header: () => null, body: null };
  }
}

function demand(answer, status) {
  if (answer.status === status && answer.body) return answer.body;
  if (answer.status === 0) throw new Refused("The service cannot be reached.", false);
  const busy = answer.status === 429 || answer.status >= 500;
  throw new Refused(answer.body?.detail ?? `The service answered ${answer.status}.`, !busy);
}

/** A key of one's own for one upload, so that sending it twice inspects it once. */
export function onceKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The task's final view. `onPhase` is told "sending" with a share, then "inspecting". */
export async function inspect(file, once, signal, onPhase) {
  const accepted = demand(await patient(() => upload(file, once, signal, (share) => onPhase("sending", share)), signal), 202);
  onPhase("inspecting", 1);
  for (;;) {
    const view = demand(await patient(() => ask(`tasks/${accepted.task_id}?wait=${LONG_POLL_S}`, signal), signal), 200);
    if (view.status === "done") return view;
    if (view.status === "failed") throw new Refused(view.error.message, !["task_timed_out", "upload_lost"].includes(view.error.code));
  }
}

/** An object URL of the heatmap, or null. */
export async function heatmap(view) {
  if (!view.explanation) return null;
  const response = await fetch(view.explanation.heatmap_url.slice(1), { headers: headers() });
  return response.ok ? URL.createObjectURL(await response.blob()) : null;
}

/** Says what a task's photo shows; null takes back what was said. */
export async function say(taskId, label) {
  const { signal } = new AbortController();
  const url = `tasks/${taskId}/feedback`;
  const options = label
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ label }) }
    : { method: "DELETE" };
  return demand(await patient(() => ask(url, signal, options), signal), 200);
}

/** The unlabelled photos that teach most: {images, unlabelled, history_days}. */
export async function labelling(limit) {
  const { signal } = new AbortController();
  return demand(await patient(() => ask(`labelling?limit=${limit}`, signal), signal), 200);
}

/** An object URL of a kept photo, or null. */
export async function keptPhoto({ image_url }) {
  const response = await fetch(image_url.slice(1), { headers: headers() });
  return response.ok ? URL.createObjectURL(await response.blob()) : null;
}

/** The state of queue and workers; null while the service does not answer. */
export async function state() {
  const used = key;
  const answer = await ask("status", new AbortController().signal);
  if (answer.status === 401) await newKey(used);
  return answer.status === 200 ? answer.body : null;
}
