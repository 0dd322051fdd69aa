// The Train panel: from conversations to a tuned character, step by step, and what came of earlier runs.

import { app, get, icon, node, Panel, t } from "./base.js";
import { DataSteps } from "./train_data.js";
import { duelView } from "./duel.js";
import { LiveRun } from "./train_live.js";
import { PlanStep } from "./train_plan.js";
import { lastOutcome, runList, runView } from "./train_runs.js";
import { welcomeView } from "./welcome.js";

const LIVE_SECONDS = 1;

customElements.define("duo-train", class extends Panel {
  static panel = "train";

  async enter() {
    this.visit = {}; // what was begun for an earlier place finds that it is over
    const isAdmin = app.state.visitor.role === "admin";
    if (!isAdmin && app.session !== "duel") return this.show(node("div", { class: "page train" }, onlyAdmin()));
    if (!app.state.characters.length || app.session === "new") return this.show(welcomeView());
    const entry = app.entry();
    if (!entry) return app.go("train", { character: app.state.characters[0].id, replaces: true });
    if (entry.fault) return this.show(head(entry), node("div", { class: "note error" }, entry.fault));
    if (app.session === "duel") return this.show(await duelView(entry, this.isCurrent()));
    if (app.session) return this.show(await runView(entry, app.session));
    if (this.place !== entry.id) this.show(head(entry), node("div", { class: "skeleton", style: "height: 12rem" }));
    this.place = entry.id;
    await this.showTraining(entry);
  }

  // A function that says whether the place is still the one it was made for.
  isCurrent() {
    const visit = this.visit;
    return () => this.visit === visit && app.panel === "train";
  }

  async showTraining(entry) {
    const isCurrent = this.isCurrent();
    const again = () => this.enter();
    let state;
    try {
      state = await get(`characters/${entry.id}/training`);
    } catch (error) {
      if (isCurrent()) this.show(head(entry), failed(error, again));
      return;
    }
    if (!isCurrent()) return;
    if (state.phase !== "idle") return this.showLive(entry, state, isCurrent);
    const plan = new PlanStep(entry, state, again);
    const data = new DataSteps(entry, isCurrent, (isReady) => plan.setReady(isReady));
    const steps = node("ol", { class: "steps" }, data.nodes, plan.nodes);
    const isTrained = state.runs.some((run) => run.state === "finished");
    this.show(
      head(entry),
      lastOutcome(entry, state, again),
      isTrained ? node("details", { class: "again", open: state.how === "failed" }, node("summary", {}, t("train.again")), steps) : steps,
      runList(entry, state.runs),
    );
    data.start();
  }

  async showLive(entry, state, isCurrent) {
    const live = new LiveRun(entry, state);
    this.show(head(entry), live.node, runList(entry, state.runs.filter((run) => run.state !== "running")));
    while (isCurrent()) {
      await new Promise((resolve) => setTimeout(resolve, LIVE_SECONDS * 1000));
      if (!isCurrent()) return;
      if (document.hidden) continue;
      const now = await get(`characters/${entry.id}/training`).catch(() => null); // the frame says that one is offline
      if (!now || !isCurrent()) continue;
      if (now.phase === "idle") break;
      live.update(now);
    }
    if (!isCurrent()) return;
    await app.refresh();
    app.tell("runs");
    this.place = "";
    await this.enter();
    this.querySelector("[data-outcome]")?.focus();
  }

  show(...content) {
    const last = content.at(-1);
    const page = last?.classList?.contains("page") ? last : node("div", { class: "page train" }, ...content);
    if (page === last) this.place = "";
    this.replaceChildren(page);
  }
});

function head(entry) {
  return node("div", { class: "page-head" },
    node("div", {}, node("h1", {}, t("train.heading", { name: entry.name })), node("p", {}, t("train.about", { name: entry.name }))),
    characterChoice(entry));
}

function failed(error, again) {
  return node("div", { class: "note error", role: "alert" }, icon("warn"), node("span", {}, error.message),
    node("button", { type: "button", class: "button small", onclick: again }, t("base.again")));
}

function onlyAdmin() {
  return node("div", { class: "empty" }, icon("lock"), node("h2", {}, t("train.only_admin")), node("p", {}, t("train.only_admin_about")),
    node("a", { class: "button primary", href: app.hash("talk") }, t("base.talk")));
}

function characterChoice(entry) {
  if (app.state.is_single) return null;
  const options = app.state.characters.map((each) => node("option", { value: each.id, selected: each.id === entry.id }, each.name));
  options.push(node("option", { value: "" }, t("train.another")));
  const go = (event) => (event.target.value ? app.go("train", { character: event.target.value }) : app.go("train", { session: "new" }));
  return node("label", { class: "input" }, node("span", { class: "hidden-label" }, t("train.who")), node("select", { class: "input", onchange: go }, options));
}
