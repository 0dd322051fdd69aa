// Steps 3 and 4: what the training would need and take, with a few knobs in plain words, and the start.

import { ask, attempt, icon, node, number, post, t } from "./base.js";
import { step } from "./train_data.js";

const WAIT_MILLISECONDS = 350; // a slider that is still moving asks for no plan
const ORDER = ["quickstart", "best-8gb", "best-12gb", "best-16gb", "best-24gb", "optimized", "original"]; // by size
const NUM_COLOURS = 7;

export class PlanStep {
  constructor(entry, state, started) {
    this.entry = entry;
    this.state = state;
    this.started = started;
    this.path = `characters/${entry.id}`;
    this.knobs = {};
    this.isReady = false;
    this.answer = node("div", { class: "stack", "aria-live": "polite" });
    this.choices = node("div", { class: "stack" });
    this.startButton = node("button", { type: "button", class: "button primary start", disabled: true, onclick: () => this.start() }, icon("play"), t("train.start"));
    this.startAbout = node("p", { class: "soft small" }, t("train.start_wait"));
    this.showChoices();
    this.nodes = [
      step(3, t("train.step_plan"), t("train.step_plan_about"), this.choices, this.answer),
      step(4, t("train.step_train"), t("train.step_train_about", { name: entry.name }), node("div", { class: "row" }, this.startButton, this.startAbout)),
    ];
  }

  setReady(isReady) {
    const before = this.isReady;
    this.isReady = isReady;
    if (isReady && !(before && this.plan)) this.replan();
    else if (!isReady) this.showStart();
    if (!isReady && !this.plan) this.answer.replaceChildren(node("p", { class: "soft" }, t("train.plan_wait")));
  }

  showChoices() {
    const { settings } = this.state;
    const current = settings.recipes.find((recipe) => recipe.is_current);
    const cards = ORDER.flatMap((name) => settings.recipes.filter((recipe) => recipe.name === name)).map((recipe) => this.recipeCard(recipe, recipe === current));
    this.fields = node("div", { class: "knobs" }, ...this.makeFields(settings));
    this.choices.replaceChildren(
      node("fieldset", { class: "recipes" }, node("legend", { class: "hidden-label" }, t("train.recipe")), cards),
      node("p", { class: "soft small" }, current ? t("train.recipe_hint") : t("train.recipe_own", { base: settings.base })),
      node("details", {}, node("summary", {}, t("train.knobs")), this.fields),
    );
  }

  recipeCard(recipe, isCurrent) {
    const key = recipe.name.replaceAll("-", "_");
    const choose = () => { this.knobs = isCurrent ? {} : { recipe: recipe.name }; this.replan(); };
    return node("label", { class: "card link recipe" },
      node("input", { type: "radio", name: "recipe", value: recipe.name, checked: isCurrent, onchange: choose }),
      node("strong", {}, t(`train.recipe_${key}`)), node("span", { class: "soft small" }, t(`train.recipe_${key}_about`)));
  }

  makeFields(settings) {
    const set = (name, value) => { this.knobs[name] = value; this.replan(); };
    const choice = (name, values, now) => {
      const options = values.map((value) => node("option", { value: String(value), selected: String(value) === String(now) }, t(`train.${name}_${value}`)));
      if (!values.map(String).includes(String(now))) options.unshift(node("option", { value: "", selected: true }, String(now)));
      const parse = (text) => (typeof values[0] === "number" ? Number(text) : text);
      const select = node("select", { onchange: (event) => event.target.value && set(name, parse(event.target.value)) }, options);
      return node("label", { class: "field" }, node("span", {}, t(`train.knob_${name}`)), select, node("small", {}, t(`train.knob_${name}_about`)));
    };
    const saves = node("input", { type: "checkbox", checked: settings.saves_memory, onchange: (event) => set("saves_memory", event.target.checked) });
    return [
      choice("num_epochs", [1, 2, 3, 5, 8], settings.num_epochs),
      choice("max_minutes", [2, 4, 10, 30, 120, 0], settings.max_minutes),
      choice("max_length_tokens", [256, 512, 768, 1024, 2048, 4096], settings.max_length_tokens),
      choice("rank", [8, 16, 32, 64], settings.rank),
      choice("quantization", ["auto", "none", "int8", "nf4"], settings.quantization),
      node("label", { class: "switch" }, saves, node("span", {}, t("train.knob_saves_memory"), node("br"), node("small", { class: "soft" }, t("train.knob_saves_memory_about")))),
    ];
  }

  // Asks for the plan of the knobs as they stand, once they have stood still for a moment.
  replan() {
    if (!this.isReady) return;
    clearTimeout(this.waiting);
    this.asking?.abort();
    this.plan = null;
    this.showStart();
    if (this.answer.querySelector(".verdict")) this.answer.classList.add("stale");
    else this.answer.replaceChildren(node("div", { class: "skeleton", style: "height: 7rem" }));
    this.waiting = setTimeout(() => attempt(() => this.askPlan()), WAIT_MILLISECONDS);
  }

  async askPlan() {
    const asking = (this.asking = new AbortController());
    try {
      const answer = await ask("POST", `${this.path}/plan`, this.knobs, { signal: asking.signal });
      if (this.asking !== asking) return;
      this.plan = answer;
      this.answer.classList.remove("stale");
      this.answer.replaceChildren(...planNodes(answer, (advice) => { this.knobs.advice = advice; this.replan(); }));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.answer.classList.remove("stale");
      this.answer.replaceChildren(node("div", { class: "note error", role: "alert" }, icon("warn"), node("span", {}, error.message),
        node("button", { type: "button", class: "button small", onclick: () => this.replan() }, t("base.again"))));
    }
    this.showStart();
  }

  showStart() {
    const verdict = this.plan?.verdict;
    this.startButton.disabled = !(this.isReady && verdict && verdict !== "no");
    const key = verdict === "no" ? "start_no" : verdict ? "start_ready" : "start_wait";
    this.startAbout.textContent = t(`train.${key}`, { time: verdict ? minutes(this.plan.time.total_minutes) : "" });
  }

  async start() {
    this.startButton.disabled = true;
    await attempt(async () => {
      try {
        await post(`${this.path}/training`, { knobs: this.knobs });
      } finally {
        await this.started(); // another tab may have been first: then that one's training is shown
      }
    });
  }
}

export function minutes(num) {
  if (num < 1) return t("train.seconds", { num: number(Math.max(1, Math.round(num * 60))) });
  if (num < 90) return t("train.minutes", { num: number(num, { maximumFractionDigits: num < 10 ? 1 : 0 }) });
  return t("train.hours", { num: number(num / 60, { maximumFractionDigits: 1 }) });
}

export function gib(num) {
  return `${number(num, { maximumFractionDigits: num < 10 ? 1 : 0 })} GiB`;
}

function planNodes(plan, use) {
  const { memory, time, cost } = plan;
  const verdict = node("div", { class: `verdict ${plan.verdict}` }, icon(plan.verdict === "fits" ? "check" : "warn"),
    node("div", {}, node("strong", {}, t(`train.verdict_${plan.verdict}`)),
      node("p", {}, t(`train.verdict_${plan.verdict}_about`, { needed: gib(memory.device_gib), there: gib(memory.available_gib), machine: plan.machine }))));
  const usd = cost.electricity_usd === null ? "" : number(cost.electricity_usd, { style: "currency", currency: "USD", maximumFractionDigits: cost.electricity_usd < 0.1 ? 3 : 2 });
  const fact = (heading, value, more) => node("div", { class: "figure" }, node("b", {}, value), node("span", {}, heading, more ? node("small", {}, more) : null));
  const facts = node("div", { class: "figures" },
    fact(t("train.plan_time"), minutes(time.total_minutes), t("train.between", { low: minutes(time.low_minutes), high: minutes(time.high_minutes) })),
    fact(t("train.plan_steps"), number(time.num_steps), t("train.plan_speed", { num: number(time.tokens_per_second, { maximumFractionDigits: 0 }) })),
    usd ? fact(t("train.plan_cost"), usd, t("train.plan_kwh", { num: number(cost.electricity_kwh, { maximumSignificantDigits: 2 }) })) : null);
  return [verdict, memoryPicture(memory), facts, advice(plan, use), why(plan)].filter(Boolean);
}

// The memory of the card as a bar: every part of what is needed, and the edge of what is there.
function memoryPicture(memory) {
  const whole = Math.max(memory.available_gib, memory.high_gib) * 1.02;
  const share = (num) => `${(100 * num) / whole}%`;
  const parts = memory.components.map((part, at) => node("i", { class: `part-${at % NUM_COLOURS}`, style: `width: ${share(part.gib)}`, title: `${part.name}: ${gib(part.gib)}` }));
  const legend = memory.components.map((part, at) => node("li", {}, node("i", { class: `part-${at % NUM_COLOURS}` }), node("span", {}, part.name), node("b", {}, gib(part.gib))));
  const edge = node("u", { style: `left: ${share(memory.available_gib)}` });
  const worst = node("s", { style: `left: ${share(memory.low_gib)}; width: ${share(memory.high_gib - memory.low_gib)}` });
  const label = t("train.memory_label", { needed: gib(memory.device_gib), there: gib(memory.available_gib) });
  return node("figure", { class: "memory-picture" },
    node("figcaption", { class: "spread small" }, node("span", {}, t("train.memory")), node("span", { class: "soft" }, label)),
    node("div", { class: "memory-bar", role: "img", "aria-label": label }, parts, worst, edge),
    node("details", {}, node("summary", {}, t("train.memory_parts")), node("ul", { class: "memory-parts" }, legend)));
}

function advice(plan, use) {
  if (!plan.advice.length) return null;
  const rows = plan.advice.map((each) => node("li", {},
    node("div", {}, node("strong", {}, inWords(each.set)), node("p", { class: "soft small" }, t("train.advice_saves", { gib: gib(each.saves_gib), verdict: t(`train.verdict_${each.verdict}`) }))),
    node("button", { type: "button", class: "button small", onclick: () => use(each.set) }, t("train.advice_use"))));
  return node("div", { class: "card" }, node("h3", {}, t("train.advice")), node("ul", { class: "advice" }, rows));
}

function inWords(options) {
  return [...options.matchAll(/--set '?([\w.]+)=([^']*?)'?(?= --set|$)/g)].map(([, key, value]) => {
    const text = t(`train.set_${key.split(".")[1]}`, { value });
    return text.startsWith("train.set_") ? `${key} = ${value}` : text;
  }).join(", ");
}

function why(plan) {
  const lines = [...plan.notes, ...plan.assumptions].map((text) => node("li", {}, text));
  const settings = plan.reasons.flatMap((each) => [node("dt", {}, each.setting), node("dd", {}, `${each.value} – ${each.why}`)]);
  return node("details", {}, node("summary", {}, t("train.why")), node("div", { class: "stack small soft" }, node("dl", { class: "facts" }, settings), node("ul", {}, lines)));
}
