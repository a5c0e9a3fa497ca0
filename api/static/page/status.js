// The state of queue and workers, asked every few seconds while somebody looks.

import { state } from "./service.js";

const EVERY_MS = 3000;
const $ = (id) => document.getElementById(id);

function sentence({ workers, open_tasks, queue_limit }) {
  if (!workers.length) return "no worker is ready";
  const models = [...new Set(workers.map((worker) => worker.model.split("@")[0]))].join(", ");
  const crew = workers.length === 1 ? "1 worker" : `${workers.length} workers`;
  return `${crew} with ${models} · ${open_tasks} of ${queue_limit} in the queue`;
}

async function show() {
  if (document.hidden) return;
  const found = await state();
  const level = !found || !found.workers.length ? "away" : found.open_tasks >= found.queue_limit ? "busy" : "ready";
  $("status").dataset.state = level;
  $("status-text").textContent = found ? sentence(found) : "the service does not answer";
  if (found?.flower_port) {
    $("flower").href = `${location.protocol}//${location.hostname}:${found.flower_port}`;
    $("flower").hidden = false;
  }
}

export async function watchStatus() {
  document.addEventListener("visibilitychange", show);
  for (;;) {
    await show();
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}
