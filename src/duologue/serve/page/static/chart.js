// A curve of the loss as SVG: a line of the steps, points of what was measured on held-out conversations, two axes.

import { node, number, t } from "./base.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 720;
const HEIGHT = 260;
const ROOM = { left: 46, right: 14, top: 14, bottom: 30 };

export class LossChart {
  constructor() {
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", preserveAspectRatio: "none" });
    this.node = node("figure", { class: "loss" }, node("figcaption", { class: "spread small" },
      node("span", {}, t("train.loss")), node("span", { class: "soft" }, t("train.loss_about"))), this.svg);
  }

  // `curve` is [[step, loss], …]; `validation` the same of held-out conversations.
  update(curve, validation, maxSteps) {
    const losses = [...curve, ...validation].map(([, loss]) => loss).filter(Number.isFinite);
    if (!losses.length) {
      this.svg.replaceChildren();
      return;
    }
    const [low, high] = padded(Math.min(...losses), Math.max(...losses));
    const last = Math.max(maxSteps || 1, curve.at(-1)?.[0] ?? 1);
    const x = (step) => ROOM.left + ((WIDTH - ROOM.left - ROOM.right) * step) / last;
    const y = (loss) => ROOM.top + ((HEIGHT - ROOM.top - ROOM.bottom) * (high - loss)) / (high - low);
    const points = curve.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`);
    const smooth = smoothed(curve).map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`);
    const [endX, endY] = (smooth.at(-1) ?? points.at(-1) ?? "0,0").split(",");
    this.svg.setAttribute("aria-label", spoken(curve, validation));
    this.svg.replaceChildren(
      ...grid(low, high, last, x, y),
      shape("polygon", { class: "area", points: `${x(curve[0]?.[0] ?? 0)},${y(low)} ${smooth.join(" ")} ${endX},${y(low)}` }),
      shape("polyline", { class: "raw", points: points.join(" ") }),
      shape("polyline", { class: "line", points: smooth.join(" ") }),
      ...validation.map(([step, loss]) => shape("circle", { class: "held", cx: x(step), cy: y(loss), r: 4.5 })),
      curve.length ? shape("circle", { class: "end", cx: endX, cy: endY, r: 4 }) : shape("g", {}),
    );
  }
}

function grid(low, high, last, x, y) {
  const lines = [];
  for (let at = 0; at <= 3; at += 1) {
    const loss = low + ((high - low) * at) / 3;
    lines.push(shape("line", { class: "grid", x1: ROOM.left, x2: WIDTH - ROOM.right, y1: y(loss), y2: y(loss) }),
      label(number(loss, { maximumFractionDigits: high - low < 1 ? 2 : 1 }), ROOM.left - 8, y(loss) + 4, "end"));
  }
  for (const part of [0, 0.5, 1]) {
    const step = Math.round(last * part);
    lines.push(label(step ? t("train.step_n", { num: number(step) }) : "0", x(step), HEIGHT - 8, part === 1 ? "end" : part ? "middle" : "start"));
  }
  return lines;
}

function smoothed(curve) {
  const size = Math.max(1, Math.round(curve.length / 25));
  return curve.map(([step], at) => {
    const part = curve.slice(Math.max(0, at - size), at + size + 1);
    return [step, part.reduce((sum, [, loss]) => sum + loss, 0) / part.length];
  });
}

function padded(low, high) {
  const room = Math.max(0.05, (high - low) * 0.08);
  return [Math.max(0, low - room), high + room];
}

function spoken(curve, validation) {
  const first = curve[0]?.[1] ?? validation[0][1];
  const last = curve.at(-1)?.[1] ?? validation.at(-1)[1];
  const two = { maximumFractionDigits: 2 };
  return t("train.loss_spoken", { first: number(first, two), last: number(last, two), step: number(curve.at(-1)?.[0] ?? 0) });
}

function label(text, x, y, anchor) {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function shape(tag, properties) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  return made;
}
