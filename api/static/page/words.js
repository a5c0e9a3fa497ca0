// Numbers and places as words.

const NAMES = { scratches: "Scratched", no_scratches: "Clean" };

export function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  if (share < 1 && share > 0.99) return "over 99 %";
  return `${Math.round(share * 100)} %`;
}

/** Of a point in shares: "upper left", "centre". */
export function place([x, y]) {
  const row = ["upper", "", "lower"][Math.min(2, Math.floor(y * 3))];
  const column = ["left", "", "right"][Math.min(2, Math.floor(x * 3))];
  return [row, column].filter(Boolean).join(" ") || "in the centre";
}

export function verdict(item) {
  switch (item.state) {
    case "waiting": return "Waiting";
    case "sending": return `Sending ${Math.round(item.share * 100)} %`;
    case "inspecting": return "Inspecting";
    case "failed": return "Refused";
    default: return NAMES[item.view.result.pred];
  }
}

const REASONS = {
  between: "Please look: too close to call",
  unlike: "Please look: unlike what the model knows",
  uncertified: "Not certified",
};

/** Of the verdict that keeps a promise; empty where the service gives none. */
export function ruling(view) {
  if (!view.verdict) return "";
  return view.verdict === "review" ? (REASONS[view.reason] ?? "Please look") : `Certified ${view.verdict}`;
}

export function detail(item) {
  if (item.state === "failed") return item.error;
  if (item.state !== "done") return "";
  const chance = `${percent(item.view.result.prob_scratches)} likely scratched`;
  const where = item.view.explanation && item.view.result.pred === "scratches";
  return where ? `${chance}; look ${place(item.view.explanation.hottest)}` : chance;
}
