// A training that is going on: how far it is, its loss, replies as they come, and its end when somebody wants it.

import { app, attempt, confirmed, duration, get, icon, node, number, post, t } from "./base.js";
import { LossChart } from "./chart.js";
import { gib } from "./train_plan.js";

const PHASES = ["preparing", "loading", "training", "measuring"];

export class LiveRun {
  constructor(entry, state) {
    this.entry = entry;
    this.path = `characters/${entry.id}`;
    this.heading = node("h2", {});
    this.phases = node("ol", { class: "phases" }, PHASES.map((name) => node("li", { "data-phase": name }, t(`train.phase_${name}`))));
    this.bar = node("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": t("train.progress") }, node("i"));
    this.numbers = node("div", { class: "figures" });
    this.said = node("p", { class: "hidden-label", "aria-live": "polite" });
    this.chart = new LossChart();
    this.replies = node("div", { class: "stack" });
    this.stopButton = node("button", { type: "button", class: "button danger", onclick: () => this.stop() }, icon("stop"), t("train.stop"));
    this.log = node("pre", { class: "log", tabIndex: 0 });
    const logDetails = node("details", { ontoggle: () => logDetails.open && this.showLog() }, node("summary", {}, t("train.log")), this.log);
    this.logDetails = logDetails;
    this.note = node("p", { class: "soft small" }, t("train.live_note", { name: entry.name }));
    this.node = node("section", { class: "card live stack", "aria-label": t("train.live") },
      node("div", { class: "spread" }, this.heading, this.stopButton), this.phases, this.bar, this.said, this.numbers, this.note,
      this.chart.node, this.replies, logDetails);
    this.update(state);
  }

  update(state) {
    const { progress, phase } = state;
    this.heading.textContent = state.is_stopping ? t("train.stopping") : t(`train.doing_${phase}`, { name: this.entry.name });
    this.stopButton.disabled = state.is_stopping;
    for (const item of this.phases.children) {
      const place = PHASES.indexOf(item.dataset.phase) - PHASES.indexOf(phase);
      item.className = place < 0 ? "done" : place ? "" : "now";
      if (place) item.removeAttribute("aria-current");
      else item.setAttribute("aria-current", "step");
    }
    this.showBar(phase, progress);
    this.showNumbers(state);
    this.chart.node.hidden = !progress?.curve.length;
    if (progress?.curve.length) this.chart.update(progress.curve, progress.validation, progress.max_steps);
    this.showReplies(progress?.replies ?? []);
    this.note.textContent = t(state.can_talk ? "train.live_note" : "train.live_note_alone", { name: this.entry.name });
    if (this.logDetails.open) this.showLog();
  }

  showBar(phase, progress) {
    const share = phase === "training" && progress?.max_steps ? progress.step / progress.max_steps : 0;
    this.bar.classList.toggle("unknown", phase !== "training");
    this.bar.firstChild.style.width = phase === "training" ? `${100 * share}%` : "";
    if (phase === "training") this.bar.setAttribute("aria-valuenow", Math.round(100 * share));
    else this.bar.removeAttribute("aria-valuenow");
    const tenth = Math.floor(share * 10); // a screen reader hears every tenth, not every step
    if (tenth !== this.tenth) this.said.textContent = t(`train.doing_${phase}`, { name: this.entry.name }) + (share ? ` ${number(share, { style: "percent" })}` : "");
    this.tenth = tenth;
  }

  showNumbers({ progress, phase, started_at: startedAt }) {
    const figure = (value, text) => node("div", { class: "figure" }, node("b", {}, value), node("span", {}, text));
    const list = [];
    if (progress?.step) {
      list.push(figure(`${number(progress.step)} / ${number(progress.max_steps)}`, t("train.steps_done")));
      if (phase === "training" && progress.seconds_to_go !== undefined && progress.seconds_to_go !== null) list.push(figure(duration(progress.seconds_to_go), t("train.to_go")));
      list.push(figure(number(progress.loss, { maximumFractionDigits: 2 }), t("train.loss_now")));
      list.push(figure(number(progress.tokens_per_second, { maximumFractionDigits: 0 }), t("train.speed")));
      if (progress.memory_gib) list.push(figure(gib(progress.memory_gib), t("train.memory_now")));
    } else if (startedAt) {
      list.push(figure(duration(Date.now() / 1000 - startedAt), t("train.since")));
    }
    this.numbers.replaceChildren(...list);
  }

  showReplies(replies) {
    const key = replies.map((each) => `${each.step} ${each.prompt}`).join("\n");
    if (key === this.shownReplies) return;
    this.shownReplies = key;
    this.replies.replaceChildren(...(replies.length ? [node("h3", {}, t("train.samples")), ...[...replies].reverse().map((each) => sample(each, this.entry))] : []));
  }

  async showLog() {
    const answer = await get(`${this.path}/training/log`).catch(() => null);
    const text = answer ? await answer.text() : "";
    if (this.log.textContent === text) return;
    const isAtEnd = this.log.scrollTop + this.log.clientHeight > this.log.scrollHeight - 40;
    this.log.textContent = text || t("train.log_empty");
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  async stop() {
    const isSure = await confirmed({ heading: t("train.stop_sure"), text: t("train.stop_sure_about"), action: t("train.stop") });
    if (isSure) await attempt(async () => this.update(await post(`${this.path}/training/stop`)));
  }
}

export function sample(each, entry) {
  return node("div", { class: "sample" },
    node("div", { class: "row small soft" }, node("span", {}, t("train.sample_at", { step: number(each.step) })),
      each.faults ? node("span", { class: "badge warn" }, each.faults) : null),
    node("p", { class: "asked" }, each.prompt), node("p", { class: "serif" }, node("span", { class: "hidden-label" }, `${entry.name}: `), each.text || "…"));
}

export function talkButton(entry) {
  return node("a", { class: "button primary", href: app.hash("talk", entry.id) }, icon("chat"), t("train.talk_to", { name: entry.name }));
}
