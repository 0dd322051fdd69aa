// How many of the model's tokens a card takes: beside each text while it is written, and together against the model's room.

import { node, number, post, t } from "./base.js";
import { pausing } from "./fields.js";

const FIELDS = ["description", "personality", "scenario", "greeting", "example_dialogue", "system_prompt", "post_history_instructions"];
const PAUSE_MS = 600;

// cardTokens(path, form, values) -> {element, count, countSoon}; `values()` are the card's texts as they stand in the form.
export function cardTokens(path, form, values) {
  const element = node("section", { class: "card stack card-tokens", "aria-label": t("characters.tokens_heading"), hidden: true });
  let asked = 0;

  async function count({ loads = false } = {}) {
    const mine = ++asked;
    const now = values();
    const texts = Object.fromEntries(FIELDS.map((name) => [name, now[name] ?? ""]));
    (now.alternate_greetings ?? []).forEach((text, at) => { texts[`alternate_greetings ${at}`] = text; });
    let found;
    try {
      found = await post(`${path}/card/tokens`, { texts, load: loads });
    } catch (error) {
      found = { message: error.message };
    }
    if (mine === asked && element.isConnected) show(found); // else more has been written meanwhile
  }

  function show(found) {
    element.hidden = false;
    if (found.message) return element.replaceChildren(node("p", { class: "soft" }, found.message));
    if (!found.is_loaded) return showAsleep();
    for (const [name, amount] of Object.entries(found.counts)) mark(name, amount);
    const share = found.total / found.context_tokens;
    const percent = number(share, { style: "percent", maximumFractionDigits: 0 });
    const text = t("characters.tokens_total", { total: number(found.total), context: number(found.context_tokens), percent });
    const bar = node("div", { class: "progress", role: "progressbar", "aria-label": t("characters.tokens_heading"), "aria-valuemin": "0", "aria-valuemax": "100",
      "aria-valuenow": String(Math.min(100, Math.round(share * 100))) }, node("i", { style: `width: ${Math.min(100, share * 100)}%` }));
    return element.replaceChildren(node("p", {}, text), bar, share > 0.5 ? node("p", { class: "note warn" }, t("characters.tokens_much")) : "");
  }

  function showAsleep() {
    const load = node("button", { type: "button", class: "button small", onclick: () => { load.disabled = true; count({ loads: true }); } }, t("characters.tokens_count"));
    element.replaceChildren(node("div", { class: "spread" }, node("p", { class: "soft" }, t("characters.tokens_asleep")), load));
  }

  // Beside the text it counts; screen readers hear the sum, not every text's number with its name.
  function mark(name, amount) {
    const [field, at] = name.split(" ");
    const control = at === undefined ? form.querySelector(`[name="${field}"]`) : form.querySelectorAll(".beside textarea")[Number(at)];
    const label = control?.closest(".field");
    if (!label) return;
    const shown = label.querySelector(".tokens") ?? label.appendChild(node("small", { class: "tokens", "aria-hidden": "true" }));
    shown.textContent = t("characters.tokens", { count: number(amount) });
  }

  return { element, count, countSoon: pausing(() => count(), PAUSE_MS) };
}
