// How a character's replies are drawn for this visitor: a preset, and what differs from it.

import { attempt, node, notice, put, t } from "./base.js";
import { choiceField, numberField } from "./fields.js";
import { section } from "./settings.js";

const SHOWN = [
  ["temperature", 0, 5, 0.05], ["max_new_tokens", 1, 8192, 1], ["top_p", 0.01, 1, 0.01], ["min_p", 0, 1, 0.01], ["top_k", 0, 1000, 1], ["repetition_penalty", 0.1, 3, 0.01],
  ["presence_penalty", -2, 2, 0.05], ["frequency_penalty", -2, 2, 0.05], ["typical_p", 0.01, 1, 0.01], ["dry_multiplier", 0, 5, 0.05],
  ["xtc_probability", 0, 1, 0.05], ["xtc_threshold", 0, 1, 0.01], ["mirostat", 0, 2, 1], ["mirostat_tau", 0.1, 20, 0.1], ["mirostat_eta", 0.01, 1, 0.01], ["seed", -1, 2147483647, 1],
];
const NUM_FIRST = 2;

export function repliesSection(path, entry, me) {
  const body = node("div", { class: "stack" });
  const show = (found) => body.replaceChildren(...content(path, found, show));
  show(me);
  const made = section("replies", node("p", { class: "soft small" }, t("settings.replies_about", { name: entry.name })), body);
  return made;
}

function content(path, me, show) {
  const values = { ...me.values };
  const preset = choiceField(t("settings.preset"), me.preset, [["", t("settings.preset_own")], ...me.presets.map((each) => [each.name, each.name])]);
  const about = node("p", { class: "soft small" }, me.presets.find((each) => each.name === me.preset)?.about ?? "");
  const send = (body) => attempt(async () => {
    show(await put(`${path}/me/replies`, body));
    notice(t("settings.replies_saved"));
  });
  // Another preset begins anew: what was set by hand belonged to the old one.
  preset.input.addEventListener("change", () => send({ preset: preset.input.value, values: {} }));
  const fields = SHOWN.map(([name, min, max, step]) => {
    const field = numberField(t(`settings.${name}`), me.drawn[name], { min: String(min), max: String(max), step: String(step), hint: hint(name) });
    if (name in me.values) field.classList.add("changed");
    field.input.addEventListener("input", () => { values[name] = Number(field.input.value); field.classList.add("changed"); });
    return field;
  });
  return [
    node("div", { class: "two" }, preset, ...fields.slice(0, NUM_FIRST)), about,
    node("details", {}, node("summary", { class: "soft" }, t("settings.more_samplers")), node("div", { class: "four" }, fields.slice(NUM_FIRST))),
    node("div", { class: "row end" },
      node("button", { type: "button", class: "button", onclick: () => send({ preset: "", values: {} }) }, t("settings.reset")),
      node("button", { type: "button", class: "button primary", onclick: () => send({ preset: preset.input.value, values }) }, t("base.save"))),
  ];
}

function hint(name) {
  const text = t(`settings.${name}_hint`);
  return text === `settings.${name}_hint` ? "" : text;
}
