// Puts the page together: photos in, cards out.

import { makeCard, show, showPhoto } from "./cards.js";
import { csvOf, download } from "./csv.js";
import { judge } from "./judge.js";
import "./key.js";
import { Lanes } from "./lanes.js";
import { arranged, counts } from "./order.js";
import { preview } from "./photos.js";
import { Refused, heatmap, inspect, onceKey } from "./service.js";
import { watchStatus } from "./status.js";
import { open, refresh, startViewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const lanes = new Lanes();
const previews = new Lanes();
let items = [];
let added = 0;
let stop = new AbortController();
let drawing = false;

const filter = () => document.querySelector("input[name=filter]:checked").value;
const shown = () => arranged(items, filter(), $("sort").value);

function add(files) {
  const fresh = [...files].map((file) => ({
    file, name: file.name || "pasted photo", order: (added += 1), state: "waiting", share: 0, once: onceKey(),
  }));
  items.push(...fresh);
  for (const item of fresh) {
    makeCard(item, { open, again, say });
    previews.add(() => prepare(item));
    enqueue(item);
  }
  if (!items.length) return;
  $("results").hidden = false;
  $("drop").classList.add("small");
  arrange();
}

async function prepare(item) {
  item.preview = await preview(item.file);
  showPhoto(item);
  refresh(item);
}

function enqueue(item) {
  const { signal } = stop;
  lanes.add(async () => {
    try {
      item.view = await inspect(item.file, item.once, signal, (state, share) => update(item, { state, share }));
      update(item, { state: "done" });
      item.heat = await heatmap(item.view);
      showPhoto(item);
      refresh(item);
    } catch (error) {
      if (signal.aborted) return;
      if (item.view) return; // judged, but its heatmap was lost on the way
      const known = error instanceof Refused;
      update(item, { state: "failed", error: known ? error.message : String(error), final: known && error.final });
    }
  });
}

function again(item) {
  Object.assign(item, { once: onceKey(), share: 0 });
  update(item, { state: "waiting", error: undefined });
  enqueue(item);
}

const say = (item, said) => judge(item, said, (change) => update(item, change));

function update(item, change) {
  Object.assign(item, change);
  show(item);
  refresh(item);
  arrangeSoon();
}

/** Once a frame, however many photos have changed. */
function arrangeSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    arrange();
  });
}

function arrange() {
  const now = shown().map((item) => item.card);
  const cards = $("cards");
  if (now.length !== cards.children.length || now.some((card, at) => card !== cards.children[at])) {
    const focused = document.activeElement;
    cards.replaceChildren(...now);
    if (cards.contains(focused)) focused.focus();
  }
  $("none").hidden = now.length > 0;
  tell(counts(items));
}

function tell(found) {
  for (const element of document.querySelectorAll("[data-count]"))
    element.textContent = found[element.dataset.count];
  const done = found.all - found.open;
  $("progress").value = found.all ? done / found.all : 0;
  const refused = found.failed ? `, ${found.failed} refused` : "";
  const text = `${done} of ${found.all} inspected: ${found.scratches} scratched, ${found.no_scratches} clean${refused}.`;
  // A screen reader should hear about every tenth photo and the last, not about each.
  if (done === found.all || done % 10 === 0) $("live").textContent = text;
}

function clear() {
  stop.abort();
  stop = new AbortController();
  lanes.clear();
  previews.clear();
  for (const item of items)
    for (const url of [item.preview?.url, item.heat]) if (url) URL.revokeObjectURL(url);
  items = [];
  $("results").hidden = true;
  $("drop").classList.remove("small");
  arrange();
  $("choose").focus();
}

function listenForPhotos() {
  for (const [button, input] of [["choose", "files"], ["shoot", "camera"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      add($(input).files);
      $(input).value = "";
    });
  }
  const over = (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", event.type === "dragover");
  };
  for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, over);
  document.addEventListener("drop", (event) => add(event.dataTransfer.files));
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
}

listenForPhotos();
startViewer(shown, say);
for (const input of document.querySelectorAll("input[name=filter]")) input.addEventListener("change", arrange);
$("sort").addEventListener("change", arrange);
$("heat").addEventListener("change", () => document.body.classList.toggle("no-marks", !$("heat").checked));
$("csv").addEventListener("click", () => download(csvOf(shown()), "scratches.csv"));
$("clear").addEventListener("click", clear);
watchStatus();
