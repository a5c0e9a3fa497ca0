// What a person says of a verdict: one click, and the service keeps it.

import { say } from "./service.js";
import { verdict } from "./words.js";

const OTHER = { scratches: "no_scratches", no_scratches: "scratches" };

/** The label that `right` or `wrong` stands for. */
const meant = (item, said) => (said === "right" ? item.view.result.pred : OTHER[item.view.result.pred]);

/** Says it, or takes it back when it is said already. `changed` is told what the item becomes. */
export async function judge(item, said, changed) {
  if (item.state !== "done" || item.saying) return;
  const label = item.said?.label === meant(item, said) ? null : meant(item, said);
  changed({ saying: true });
  try {
    const noted = await say(item.view.task_id, label);
    changed({ saying: false, said: noted, unsaid: undefined });
  } catch (error) {
    changed({ saying: false, unsaid: error.message });
  }
}

export function noted({ said, unsaid }) {
  if (unsaid) return `Not noted: ${unsaid}`;
  if (!said) return "";
  if (!said.label) return "Taken back.";
  const what = said.label === "scratches" ? "scratched" : "clean";
  return `Noted as ${what}. The photo ${said.image_kept ? "is kept to learn from" : "itself is not kept"}.`;
}

/** Connects the two buttons in `element`; `current()` is the item that they are about. */
export function connect(element, current, say) {
  for (const said of ["right", "wrong"])
    element.querySelector(`.${said}`).addEventListener("click", () => say(current(), said));
}

/** Brings the buttons in `element` up to date. */
export function showJudgement(element, item) {
  element.hidden = item.state !== "done";
  if (element.hidden) return;
  for (const said of ["right", "wrong"]) {
    const button = element.querySelector(`.${said}`);
    const word = said === "right" ? "Right" : "Wrong";
    button.setAttribute("aria-pressed", String(item.said?.label === meant(item, said)));
    button.setAttribute("aria-label", `${word}: ${item.name} is called ${verdict(item).toLowerCase()}`);
  }
  const text = noted(item);
  const line = element.querySelector(".noted");
  if (line.textContent !== text) line.textContent = text; // or a screen reader would hear it again
}
