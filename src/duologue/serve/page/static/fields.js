// Fields of forms that several panels have: a label, what is typed, a hint. Each returns its <label>; `.input` is the control.

import { node } from "./base.js";

function field(label, control, hint) {
  const shown = node("label", { class: "field" }, node("span", {}, label), control, hint ? node("small", {}, hint) : null);
  shown.input = control;
  return shown;
}

export function textField(label, value, { rows = 0, hint = "", ...more } = {}) {
  const control = rows ? node("textarea", { rows: String(rows), spellcheck: "true", ...more }) : node("input", { type: "text", ...more });
  control.value = value ?? "";
  return field(label, control, hint);
}

export function numberField(label, value, { hint = "", ...more } = {}) {
  const control = node("input", { type: "number", inputmode: "decimal", ...more });
  control.value = value;
  return field(label, control, hint);
}

export function choiceField(label, value, choices, { hint = "", ...more } = {}) {
  const control = node("select", more, choices.map(([name, text]) => node("option", { value: name }, text)));
  control.value = value;
  return field(label, control, hint);
}

export function switchField(label, isOn, { hint = "", ...more } = {}) {
  const control = node("input", { type: "checkbox", checked: Boolean(isOn), ...more });
  const words = node("span", {}, label, hint ? node("small", { class: "soft small", style: "display: block" }, hint) : null);
  const shown = node("label", { class: "switch" }, control, words);
  shown.input = control;
  return shown;
}

// Asks that `run` is called once typing has paused.
export function pausing(run, milliseconds = 250) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), milliseconds);
  };
}

// What is shown while something is asked for.
export function skeletons(number, height) {
  return node("div", { class: "stack", "aria-busy": "true" },
    Array.from({ length: number }, () => node("div", { class: "skeleton", style: `height: ${height}` })));
}
