// The duel: two replies to the same turn, and nobody knows whose is whose until one is picked.

import { app, attempt, get, icon, node, number, post, t } from "./base.js";

const PICKS = ["left", "tie", "both_bad", "right"];

export async function duelView(entry, isCurrent) {
  const state = await get(`characters/${entry.id}/duels`);
  const duel = new DuelView(entry, state, isCurrent);
  return duel.node;
}

class DuelView {
  constructor(entry, state, isCurrent) {
    this.entry = entry;
    this.isCurrent = isCurrent;
    this.path = `characters/${entry.id}/duels`;
    this.prompts = state.prompts;
    this.field = node("textarea", { rows: 2, maxLength: 8000, placeholder: t("duel.placeholder"), "aria-label": t("duel.turn"), class: "input", onkeydown: (event) => this.press(event) });
    this.askButton = node("button", { type: "button", class: "button primary", onclick: () => this.ask() }, t("duel.ask"));
    this.arena = node("div", { class: "arena" });
    this.picks = node("div", { class: "picks" });
    this.standing = node("div", { class: "stack", "aria-live": "polite" });
    const canFight = state.runs.length > 1;
    this.node = node("div", { class: "page train duel" },
      node("div", { class: "page-head" }, node("div", {},
        node("a", { class: "back", href: app.hash("train", entry.id) }, icon("left"), t("train.back", { name: entry.name })),
        node("h1", {}, t("duel.heading", { name: entry.name })), node("p", {}, t("duel.about"))), canFight && state.runs.length > 2 ? this.contenders(state.runs) : null),
      canFight ? node("div", { class: "stack" }, this.turnForm(), this.arena, this.picks, this.standing) : notTrained(entry));
    if (canFight) this.showStanding(state);
  }

  contenders(runs) {
    const select = (name, chosen) => node("select", { class: "input", "aria-label": t(`duel.${name}`), onchange: (event) => { this[name] = event.target.value; } },
      runs.map((run) => node("option", { value: run, selected: run === chosen }, runName(run))));
    this.first = runs[0];
    this.second = "base";
    return node("div", { class: "row" }, select("first", runs[0]), t("duel.against"), select("second", "base"));
  }

  turnForm() {
    const suggest = (text) => node("button", { type: "button", class: "button small", onclick: () => { this.field.value = text; this.ask(); } }, text);
    return node("div", { class: "card stack" }, this.field,
      node("div", { class: "spread" }, node("div", { class: "row" }, this.prompts.slice(0, 4).map(suggest)), this.askButton));
  }

  press(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.ask();
  }

  // `after` is the duel whose picked reply this turn answers.
  async ask() {
    const message = this.field.value.trim();
    if (!message || this.isAsking) return this.field.focus();
    this.isAsking = true;
    this.askButton.disabled = true;
    this.picks.replaceChildren();
    await attempt(async () => {
      const body = { message, first: this.first ?? "", second: this.second ?? "base" };
      const begun = await post(this.path, this.after ? { ...body, after: this.after } : body);
      this.showArena(message);
      await this.follow(begun);
    });
    this.isAsking = false;
    this.askButton.disabled = false;
  }

  showArena(message) {
    this.sides = Object.fromEntries(["left", "right"].map((side) => [side, node("p", { class: "serif" })]));
    this.boxes = Object.fromEntries(["left", "right"].map((side) => [side, node("article", { class: "card", "aria-label": t(`duel.${side}`) },
      node("div", { class: "row" }, node("span", { class: "badge" }, t(`duel.${side}`))), this.sides[side])]));
    this.arena.replaceChildren(node("p", { class: "asked" }, message), this.boxes.left, this.boxes.right);
  }

  async follow(duel) {
    while (this.isCurrent()) {
      for (const side of ["left", "right"]) {
        this.sides[side].textContent = duel[side].text;
        this.boxes[side].classList.toggle("writing", !duel[side].is_done);
      }
      if (duel.error) throw new Error(duel.error);
      if (duel.is_done) return this.offerPicks(duel.id);
      const seen = duel.left.text.length + duel.right.text.length;
      duel = await get(`${this.path}/${duel.id}?seen=${seen}`);
    }
  }

  offerPicks(id) {
    const buttons = PICKS.map((pick, at) => node("button", { type: "button", class: `button${pick === "left" || pick === "right" ? " primary" : ""}`, "aria-keyshortcuts": String(at + 1), onclick: () => this.pick(id, pick) }, t(`duel.pick_${pick}`)));
    this.picks.replaceChildren(node("div", { class: "row", role: "group", "aria-label": t("duel.which") }, buttons), node("p", { class: "soft small keys" }, t("duel.keys")));
    this.picks.onkeydown = (event) => { const pick = PICKS[Number(event.key) - 1]; if (pick) this.pick(id, pick); };
    buttons[0].focus({ preventScroll: true });
  }

  pick(id, pick) {
    return attempt(async () => {
      const answer = await post(`${this.path}/${id}/pick`, { pick });
      for (const side of ["left", "right"]) {
        const isBase = answer[side] === "base";
        const box = this.boxes[side];
        box.classList.toggle("chosen", pick === side);
        box.querySelector(".badge").replaceWith(node("span", { class: `badge ${isBase ? "" : "lamp"}` }, runName(answer[side])));
      }
      const goOn = () => { this.after = id; this.clear(); };
      const anew = () => { this.after = ""; this.clear(); };
      this.picks.replaceChildren(node("div", { class: "row" },
        node("button", { type: "button", class: "button primary", onclick: anew }, t("duel.next")),
        pick === "both_bad" ? null : node("button", { type: "button", class: "button", onclick: goOn }, t("duel.go_on"))));
      this.picks.querySelector("button").focus({ preventScroll: true });
      this.showStanding(answer);
    });
  }

  clear() {
    this.field.value = "";
    this.picks.replaceChildren();
    this.arena.replaceChildren();
    this.field.placeholder = t(this.after ? "duel.placeholder_after" : "duel.placeholder");
    this.field.focus();
  }

  showStanding({ standings, strengths }) {
    this.standing.replaceChildren(...standings.map((each) => standing(each)), strengths.runs.length ? strengthList(strengths) : "");
  }
}

function standing(each) {
  const percent = (share) => number(share, { style: "percent" });
  const decided = each.first_wins + each.second_wins;
  const verdict = each.leader ? t("duel.leads", { run: runName(each.leader) }) : t("duel.undecided");
  const needed = each.picks_needed;
  const toGo = each.leader ? "" : needed === null ? t("duel.needed_unknown") : t(needed === 1 ? "duel.needed_one" : "duel.needed", { num: number(needed) });
  const bar = node("div", { class: "interval", role: "img", "aria-label": t("duel.interval", { run: runName(each.first), low: percent(each.low), high: percent(each.high) }) },
    node("i", { style: `left: ${100 * each.low}%; width: ${100 * (each.high - each.low)}%` }),
    decided ? node("b", { style: `left: ${(100 * each.first_wins) / decided}%` }) : null);
  return node("section", { class: "card stack" },
    node("div", { class: "spread" }, node("h2", {}, t("duel.standing", { num: number(each.num_picks) })), node("span", { class: `badge ${each.leader ? "good" : ""}` }, verdict)),
    node("div", { class: "spread small" }, node("span", {}, `${runName(each.second)}: ${number(each.second_wins)}`), node("span", {}, `${runName(each.first)}: ${number(each.first_wins)}`)),
    bar, toGo ? node("p", { class: "small" }, toGo) : null, node("p", { class: "soft small" }, t("duel.standing_about", { low: percent(each.low), high: percent(each.high), run: runName(each.first), ties: number(each.ties), bad: number(each.both_bad) })));
}

// All runs on one scale: the bar is the interval, from the least to the most that any of them may have.
function strengthList({ runs, references, groups }) {
  const points = (elo) => number(Math.round(elo), { signDisplay: "exceptZero" });
  const widest = Math.max(100, ...runs.flatMap((each) => [Math.abs(each.low), Math.abs(each.high)]));
  const at = (elo) => 50 + (50 * elo) / widest;
  const row = (each) => {
    const zero = references[each.group];
    if (each.run === zero) return node("li", { class: "strength" }, node("div", { class: "spread small" }, node("b", {}, runName(each.run)), node("span", {}, t("duel.strength_zero"))));
    const percent = (share) => number(share, { style: "percent" });
    const said = t("duel.strength", { elo: points(each.elo), low: points(each.low), high: points(each.high), share: percent(each.share), zero: runName(zero) });
    return node("li", { class: "strength" }, node("div", { class: "spread small" }, node("b", {}, runName(each.run)), node("span", {}, said)),
      node("div", { class: "interval", "aria-hidden": "true" }, node("i", { style: `left: ${at(each.low)}%; width: ${at(each.high) - at(each.low)}%` }), node("b", { style: `left: ${at(each.elo)}%` })));
  };
  const apart = groups.length > 1 ? t("duel.apart", { groups: groups.map((group) => group.map(runName).join(", ")).join(" | ") }) : "";
  return node("section", { class: "card stack" }, node("h2", {}, t("duel.strengths")), node("ul", { class: "strengths" }, runs.map(row)),
    apart ? node("p", { class: "small" }, apart) : null, node("p", { class: "soft small" }, t("duel.strengths_about")));
}

function runName(run) {
  return run === "base" ? t("duel.base") : t("duel.run", { run });
}

function notTrained(entry) {
  return node("div", { class: "empty" }, icon("train"), node("h2", {}, t("duel.not_trained", { name: entry.name })), node("p", {}, t("duel.not_trained_about")),
    node("a", { class: "button primary", href: app.hash("train", entry.id) }, t("base.train")));
}
