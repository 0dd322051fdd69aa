// What came of trainings: how the last one ended, the list of all, and one of them whole.

import { app, attempt, get, icon, node, notice, number, post, t } from "./base.js";
import { LossChart } from "./chart.js";
import { sample, talkButton } from "./train_live.js";
import { gib, minutes } from "./train_plan.js";

const TWO = { maximumFractionDigits: 2 };

// What is to be said about the last training, above all else: that it is done, or how it goes on.
export function lastOutcome(entry, state, again) {
  const newest = state.runs[0];
  if (state.can_resume && state.how !== "finished") return interrupted(entry, state, again);
  if (state.how === "failed") return outcome("error", t("train.failed"), state.message);
  if (newest?.state === "finished") return finished(entry, newest);
  if (state.how === "stopped" || state.how === "killed") return outcome("warn", t("train.ended_early"), state.message);
  return null;
}

function outcome(kind, heading, text, ...buttons) {
  return node("section", { class: `outcome ${kind}`, tabIndex: -1, "data-outcome": "" },
    node("div", {}, node("h2", {}, heading), text ? node("p", {}, text) : null), node("div", { class: "row" }, buttons));
}

function interrupted(entry, state, again) {
  const run = state.runs.find((each) => each.state === "interrupted");
  const goOn = () => attempt(async () => {
    await post(`characters/${entry.id}/training`, { resumes: true });
    await again();
  });
  const text = state.how === "failed" ? state.message : t(`train.interrupted_${state.how === "killed" ? "killed" : "stopped"}`, { run: run?.name ?? "" });
  return outcome("warn", t("train.interrupted"), text,
    node("button", { type: "button", class: "button primary", onclick: goOn }, icon("play"), t("train.resume")));
}

function finished(entry, run) {
  const better = run.base_perplexity && run.tuned_perplexity ? run.base_perplexity / run.tuned_perplexity : 0;
  const text = better > 1 ? t("train.better", { name: entry.name, factor: number(better, { maximumFractionDigits: better < 3 ? 1 : 0 }) }) : t("train.done_about", { name: entry.name });
  return outcome("good", t("train.done", { name: entry.name }), text, talkButton(entry),
    node("a", { class: "button", href: app.hash("train", entry.id, "duel") }, t("train.compare")),
    node("a", { class: "button", href: app.hash("train", entry.id, run.name) }, t("train.details")));
}

export function runList(entry, runs) {
  if (!runs.length) return null;
  return node("section", { class: "stack runs" }, node("h2", {}, t("train.runs")),
    node("ul", { class: "list" }, runs.map((run) => node("li", {}, runRow(entry, run)))));
}

function runRow(entry, run) {
  const kinds = { finished: "good", interrupted: "warn", running: "lamp" };
  const change = run.tuned_perplexity ? t("train.perplexity_change", { base: number(run.base_perplexity, TWO), tuned: number(run.tuned_perplexity, TWO) }) : "";
  const origin = run.started_from ? t("train.from_feedback", { run: run.started_from }) : "";
  const detail = [origin, run.num_steps ? t("train.num_steps", { num: number(run.num_steps) }) : "", change, run.base].filter(Boolean).join(" · ");
  return node("a", { class: "entry run", href: app.hash("train", entry.id, run.name) },
    node("span", { class: "spread" }, node("span", { class: "title" }, run.name), node("span", { class: `badge ${kinds[run.state]}` }, t(`train.state_${run.state}`))),
    node("span", { class: "detail" }, detail));
}

// One run whole, as a page of its own.
export async function runView(entry, name) {
  const run = await get(`characters/${entry.id}/runs/${encodeURIComponent(name)}`);
  const chart = new LossChart();
  chart.update(run.curve, run.validation, run.max_steps);
  const report = node("a", { class: "button", href: `/page/characters/${entry.id}/runs/${run.name}/report`, target: "_blank", rel: "noopener" }, icon("note"), t("train.report"));
  return node("div", { class: "page train" },
    node("div", { class: "page-head" },
      node("div", {}, node("a", { class: "back", href: app.hash("train", entry.id) }, icon("left"), t("train.back", { name: entry.name })),
        node("h1", {}, t("train.run", { run: run.name })), node("p", {}, run.base)),
      node("div", { class: "row" }, run.has_report ? report : null, run.state === "finished" ? talkButton(entry) : null)),
    node("div", { class: "stack" },
      run.feedback ? learned(entry, run.feedback) : null,
      run.evaluation ? measured(entry, run.evaluation) : notMeasured(entry, run),
      run.curve.length ? node("section", { class: "card" }, chart.node) : null,
      versus(run),
      run.evaluation?.replies?.length ? sideBySide(entry, run.evaluation.replies) : null,
      run.replies.length ? node("details", { class: "card" }, node("summary", {}, t("train.samples")), [...run.replies].reverse().map((each) => sample(each, entry))) : null));
}

// What a run on feedback learned, and from which run on.
function learned(entry, feedback) {
  const counts = ["corrected_replies", "pairs", "liked", "disliked"].filter((kind) => feedback[`num_${kind}`]);
  const start = node("a", { href: app.hash("train", entry.id, feedback.started_from) }, t("train.run", { run: feedback.started_from }));
  const share = feedback.reward_accuracy;
  return node("section", { class: "card stack feedback" },
    node("div", {}, node("h2", {}, t("train.feedback")), node("p", { class: "soft small" }, t("train.feedback_about", { method: t(`train.method_${feedback.method}`) }), " ", start)),
    node("ul", {}, counts.map((kind) => node("li", {}, node("b", {}, number(feedback[`num_${kind}`])), " ", t(`train.feedback_${kind}`)))),
    feedback.kept_share < 1 ? node("p", { class: "soft small" }, t("train.feedback_kept", { share: number(feedback.kept_share, { style: "percent" }) })) : null,
    share === null ? null : node("p", { class: "soft small" }, t("train.feedback_accuracy", { share: number(share, { style: "percent" }) })));
}

function measured(entry, evaluation) {
  const { base_perplexity: base, tuned_perplexity: tuned } = evaluation;
  if (base === null || base === undefined) return node("div", { class: "note" }, t("train.no_perplexity"));
  const most = Math.max(base, tuned);
  const bar = (label, value, kind) => node("div", { class: "measure" }, node("span", {}, label), node("div", { class: `measure-bar ${kind}` }, node("i", { style: `width: ${(100 * value) / most}%` })), node("b", {}, number(value, TWO)));
  return node("section", { class: "card stack" },
    node("div", {}, node("h2", {}, t("train.measured")), node("p", { class: "soft small" }, t("train.measured_about", { name: entry.name }))),
    bar(t("train.before"), base, "before"), bar(t("train.after"), tuned, "after"));
}

function notMeasured(entry, run) {
  if (run.state !== "finished") return run.state === "interrupted" ? node("div", { class: "note warn" }, t("train.run_interrupted")) : null;
  const measure = () => attempt(async () => {
    await post(`characters/${entry.id}/runs/${run.name}/evaluation`);
    notice(t("train.measuring_now"));
    app.go("train", { character: entry.id });
  });
  return node("div", { class: "note" }, node("span", {}, t("train.not_measured")), node("button", { type: "button", class: "button small", onclick: measure }, t("train.measure")));
}

// Planned against measured: was the plan right?
function versus(run) {
  const rows = Object.entries(run.plan_versus_actual);
  if (!rows.length) return null;
  const shown = { tokens_per_second: (num) => number(num, { maximumFractionDigits: 0 }), train_minutes: minutes, memory_gib: gib };
  const heads = ["", t("train.planned"), t("train.was"), ""].map((text) => node("th", { scope: "col" }, text));
  const body = rows.map(([name, pair]) => {
    const say = shown[name] ?? ((num) => number(num, TWO));
    const isWithin = pair.actual >= pair.low && pair.actual <= pair.high;
    return node("tr", {}, node("th", { scope: "row" }, t(`train.versus_${name}`)),
      node("td", {}, say(pair.plan), node("small", { class: "soft" }, ` (${say(pair.low)} – ${say(pair.high)})`)), node("td", {}, say(pair.actual)),
      node("td", {}, node("span", { class: `badge ${isWithin ? "good" : "warn"}` }, t(isWithin ? "train.as_planned" : "train.not_as_planned"))));
  });
  return node("section", { class: "card" }, node("h2", {}, t("train.versus")), node("div", { class: "table" }, node("table", {}, node("thead", {}, node("tr", {}, heads)), node("tbody", {}, body))));
}

function sideBySide(entry, replies) {
  return node("section", { class: "card stack" }, node("h2", {}, t("train.side_by_side")),
    replies.map((row) => node("div", { class: "beside" }, node("p", { class: "asked" }, row.prompt),
      node("div", {}, node("span", { class: "badge" }, t("train.before")), node("p", { class: "serif" }, row.base)),
      node("div", {}, node("span", { class: "badge lamp" }, t("train.after")), node("p", { class: "serif" }, row.tuned)))));
}
