// One card a photo. An item: {file, name, order, state, share, view, error, preview, heat, said, card}.

import { connect, showJudgement } from "./judge.js";
import { draw } from "./photos.js";
import { detail, ruling, verdict } from "./words.js";

const template = document.getElementById("card");

/** `open(item)` shows it large, `again(item)` sends it once more, `say(item, "right")` judges it. */
export function makeCard(item, { open, again, say }) {
  const card = template.content.firstElementChild.cloneNode(true);
  card.querySelector(".name").textContent = item.name;
  card.querySelector(".name").title = item.name;
  card.querySelector(".open").addEventListener("click", () => open(item));
  card.querySelector(".again").addEventListener("click", () => again(item));
  connect(card.querySelector(".judge"), () => item, say);
  item.card = card;
  show(item);
  return card;
}

/** Brings a card up to date with its item. */
export function show(item) {
  const { card } = item;
  card.dataset.state = item.state;
  card.dataset.verdict = item.view?.result.pred ?? "";
  card.querySelector(".verdict").textContent = verdict(item);
  card.querySelector(".detail").textContent = detail(item);
  card.querySelector(".open").setAttribute("aria-label", `Open ${item.name}: ${verdict(item)} ${detail(item)}`);
  showRuling(card.querySelector(".ruling"), item.view ?? {});
  card.querySelector(".again").hidden = item.state !== "failed" || item.final;
  showJudgement(card.querySelector(".judge"), item);
  const share = item.view ? item.view.result.prob_scratches : item.state === "failed" ? 0 : item.share;
  card.querySelector(".meter span").style.width = `${share * 100}%`;
}

/** What one may rely on; the words of the promise on hover. */
function showRuling(badge, view) {
  badge.textContent = ruling(view);
  badge.title = view.bound ?? "";
  badge.hidden = !badge.textContent;
  badge.dataset.ruling = view.verdict ?? "";
}

export function showPhoto(item) {
  draw(item.card.querySelector(".frame"), item, item.preview?.url);
}
