// The shown photos as a table, RFC 4180.

const COLUMNS = ["file", "verdict", "prob_scratches", "prob_no_scratches", "x", "y", "model", "task_id", "error", "ruling", "bound"];

function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // else a spreadsheet computes it
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function row(item) {
  const { result, explanation, model, task_id } = item.view ?? {};
  const [x, y] = explanation?.hottest ?? [];
  return [item.name, result?.pred ?? item.state, result?.prob_scratches, result?.prob_no_scratches, x, y, model, task_id, item.error, item.view?.verdict, item.view?.bound];
}

export function csvOf(items) {
  return [COLUMNS, ...items.map(row)].map((cells) => cells.map(cell).join(",") + "\r\n").join("");
}

export function download(text, name) {
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
