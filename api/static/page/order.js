// Which photos are shown, and in which order.

const probability = (item) => item.view?.result.prob_scratches ?? -1;
const doubt = (item) => (item.view ? Math.abs(item.view.result.prob_scratches - 0.5) : 1);

const ORDERS = {
  added: (a, b) => a.order - b.order,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.order - b.order,
  probability: (a, b) => probability(b) - probability(a) || a.order - b.order,
  unsure: (a, b) => doubt(a) - doubt(b) || a.order - b.order,
};

export function group(item) {
  return item.state === "failed" ? "failed" : (item.view?.result.pred ?? "open");
}

export function arranged(items, filter, sort) {
  return items.filter((item) => filter === "all" || group(item) === filter).sort(ORDERS[sort]);
}

export function counts(items) {
  const found = { all: items.length, scratches: 0, no_scratches: 0, failed: 0, open: 0 };
  for (const item of items) found[group(item)] += 1;
  return found;
}
