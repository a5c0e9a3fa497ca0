// Small previews, so that two hundred large photos do not fill the memory; and marks over them.

const PREVIEW = 480;

/** {url, ratio}, or null for what this browser cannot show (TIFF, HEIC). */
export async function preview(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const ratio = bitmap.width / bitmap.height;
  const scale = Math.min(1, PREVIEW / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", 0.85));
  return blob ? { url: URL.createObjectURL(blob), ratio } : null;
}

function image(url, kind) {
  const element = new Image();
  element.src = url;
  element.alt = "";
  element.className = kind;
  return element;
}

/** Draws photo, heatmap and box into `frame`; heat and box only over what was called scratched. */
export function draw(frame, item, url) {
  const ratio = item.preview?.ratio ?? 4 / 3;
  frame.style.aspectRatio = ratio;
  frame.style.setProperty("--ratio", ratio);
  frame.classList.toggle("wide", ratio >= 4 / 3);
  frame.classList.toggle("blank", item.preview === null);
  const layers = url ? [image(url, "photo")] : [];
  if (item.preview && item.heat && item.view.result.pred === "scratches") {
    layers.push(image(item.heat, "heat"), box(item.view.explanation.box));
  }
  frame.replaceChildren(...layers);
}

function box([left, top, right, bottom]) {
  const element = document.createElement("span");
  element.className = "box";
  Object.assign(element.style, {
    left: `${left * 100}%`, top: `${top * 100}%`,
    width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
  });
  return element;
}
