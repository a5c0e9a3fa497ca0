// One photo large. `shown()` gives the photos as they are arranged now.

import { connect, showJudgement } from "./judge.js";
import { draw } from "./photos.js";
import { detail, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const dialog = $("viewer");
let shown = () => [];
let current = null;
let url = null;

export function startViewer(arrangedItems, say) {
  shown = arrangedItems;
  connect($("viewer-judge"), () => current, say);
  $("viewer-close").addEventListener("click", () => dialog.close());
  $("viewer-before").addEventListener("click", () => move(-1));
  $("viewer-next").addEventListener("click", () => move(1));
  dialog.addEventListener("close", () => {
    URL.revokeObjectURL(url);
    current?.card.querySelector(".open").focus();
    current = null;
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
    else if (event.key.toLowerCase() === "h") $("heat").click();
    else if (event.key.toLowerCase() === "r") say(current, "right");
    else if (event.key.toLowerCase() === "w") say(current, "wrong");
  });
}

export function open(item) {
  current = item;
  refresh(item);
  if (!dialog.open) dialog.showModal();
}

/** Call when an item has changed. */
export function refresh(item) {
  if (item !== current) return;
  $("viewer-name").textContent = item.name;
  $("viewer-text").textContent = [verdict(item), detail(item), item.view?.model].filter(Boolean).join(" · ");
  showJudgement($("viewer-judge"), item);
  const frame = document.createElement("span");
  frame.className = "frame";
  URL.revokeObjectURL(url);
  url = URL.createObjectURL(item.file);
  draw(frame, item, item.preview && url);
  $("viewer-stage").replaceChildren(frame);
}

function move(step) {
  const items = shown();
  const next = items[items.indexOf(current) + step];
  if (next) open(next);
}
