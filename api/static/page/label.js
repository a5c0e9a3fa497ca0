// One unlabelled photo after the other; a key says what it shows.

import "./key.js";
import { keptPhoto, labelling, say } from "./service.js";
import { watchStatus } from "./status.js";
import { percent } from "./words.js";

const AT_ONCE = 20;
const MOST = 200;
/** Photos that are kept in memory, should somebody go back to them. */
const REMEMBERED = 10;
const KEYS = { s: "scratches", c: "no_scratches", x: "skip", u: "undo" };
const WORDS = { scratches: "scratched", no_scratches: "clean" };

const $ = (id) => document.getElementById(id);
let queue = [];
/** What was done, to be undone: {item, says}. */
const done = [];
/** Ids that were asked for or skipped here already. */
const met = new Set();
let left = 0;
let busy = true;

const url = (item) => (item.url ??= keptPhoto(item).catch(() => null));

async function refill() {
  const found = await labelling(Math.min(MOST, AT_ONCE + met.size));
  const fresh = found.images.filter(({ task_id }) => !met.has(task_id));
  for (const { task_id } of fresh) met.add(task_id);
  queue.push(...fresh);
  left = found.unlabelled;
  return found;
}

/** The next photo, and only when it is there what was told: until then keys do nothing. */
async function show(told) {
  const found = queue.length ? null : await refill();
  const item = queue[0];
  const source = item && (await url(item));
  $("photo").hidden = !source;
  $("unseen").hidden = Boolean(source);
  if (source) $("photo").src = source;
  $("labelling").hidden = !item;
  for (const button of document.querySelectorAll("[data-says]")) button.disabled = !item;
  $("undo").disabled = !done.length;
  tell([told, item ? `${left} unlabelled.` : nothing(found)]);
  for (const next of queue.slice(1, 3)) url(next); // while a person looks
}

function nothing({ unlabelled, history_days }) {
  if (unlabelled) return `${unlabelled} were skipped; load the page again to see them.`;
  if (!history_days) return "No photos are kept here: set SCRATCH_HISTORY_DAYS.";
  return "Every photo that is kept is labelled.";
}

function tell(parts) {
  $("label-live").textContent = parts.filter(Boolean).join(" ");
}

function opinion({ pred, prob_scratches }) {
  return `The model says ${WORDS[pred]}: ${percent(prob_scratches)} likely scratched.`;
}

async function answer(says) {
  const item = queue[0];
  if (!item) return "";
  if (says !== "skip") {
    await say(item.task_id, says);
    left -= 1;
  }
  queue.shift();
  done.push({ item, says });
  forget(done.at(-1 - REMEMBERED)?.item);
  return says === "skip" ? "Skipped." : `Noted as ${WORDS[says]}. ${opinion(item)}`;
}

async function forget(item) {
  if (!item) return;
  URL.revokeObjectURL(await url(item));
  delete item.url;
}

async function undo() {
  const last = done.at(-1);
  if (!last) return "";
  if (last.says !== "skip") {
    await say(last.item.task_id, null);
    left += 1;
  }
  done.pop();
  queue.unshift(last.item);
  return "Undone.";
}

/** One at a time: a key that is held down does not run ahead of the photos. */
async function act(says) {
  if (busy) return;
  busy = true;
  try {
    await show(says === "undo" ? await undo() : await answer(says));
  } catch (error) {
    tell([error.message]);
  }
  busy = false;
}

function listen() {
  for (const button of document.querySelectorAll("[data-says]"))
    button.addEventListener("click", () => act(button.dataset.says));
  $("undo").addEventListener("click", () => act("undo"));
  $("photo").addEventListener("error", () => {
    $("photo").hidden = true;
    $("unseen").hidden = false;
  });
  document.addEventListener("keydown", (event) => {
    const says = KEYS[event.key.toLowerCase()];
    const typing = event.target.closest("input, select, textarea");
    if (!says || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    event.preventDefault();
    act(says);
  });
}

listen();
watchStatus();
try {
  await show("");
} catch (error) {
  tell([error.message]);
}
busy = false;
