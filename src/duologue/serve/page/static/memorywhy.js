// Why something is remembered, and why it was recalled for the last reply.

import { app, dateTime, dialog, get, icon, node, t } from "./base.js";

export async function showWhy(path, line) {
  const why = await get(`${path}/${line.id}`);
  const turn = (each) => node("li", { class: each.message_id === why.line.message_id ? "here" : "" },
    node("strong", {}, each.name || each.speaker), node("span", { class: "card-text" }, each.text));
  const versions = why.versions.length > 1 ? [node("h3", {}, t("memory.versions")), node("ol", {}, why.versions.map((each) =>
    node("li", {}, node("span", {}, each.text), node("span", { class: "soft small" }, ` ${dateTime(each.said_at)}${each.used_until ? ` – ${each.used_until.slice(0, 10)}` : ""}`))))] : [];
  const original = why.line.original ? node("p", { class: "note" }, t("memory.was_said", { text: why.line.original })) : null;
  const done = node("button", { type: "button", class: "button" }, t("base.close"));
  const link = why.line.session_id ? node("a", { class: "button primary", href: app.hash("talk", app.character, why.line.session_id), onclick: () => shown.close() }, icon("chat"), t("memory.open_chat")) : null;
  const shown = dialog(t("memory.why"), node("p", { class: "soft" }, t("memory.said_on", { when: dateTime(why.line.said_at), message: why.line.message_id })),
    ...[original].filter(Boolean), node("ul", { class: "around" }, why.around.map(turn)), ...versions, node("div", { class: "row end" }, done, ...[link].filter(Boolean)));
  done.onclick = () => shown.close();
}

// What was recalled for the last reply of the open chat, or of the newest; null when there is nothing to say.
export async function lastRecalled(character) {
  const base = `characters/${encodeURIComponent(character)}`;
  const session = app.session || (await get(`${base}/contexts`)).chats[0]?.id;
  if (!session) return null;
  const found = await get(`${base}/chats/${session}/recalled`);
  if (!found.lines.length) return null;
  const best = Math.max(...found.lines.map((line) => line.score), 0.0001);
  const rows = found.lines.map((line) => node("li", {},
    node("div", { class: "spread" }, node("span", { class: "card-text" }, line.text), node("span", { class: "soft small" }, reason(line))),
    node("div", { class: "score", "aria-hidden": "true" }, bars(line, (100 * line.score) / best)),
    node("div", { class: "row tight soft small" }, node("span", {}, dateTime(line.said_at)),
      line.session_id ? node("a", { href: app.hash("talk", character, line.session_id) }, t("memory.from_chat", { chat: line.session || t("memory.chat"), message: line.message_id })) : null)));
  return node("details", { class: "card recalled", open: true }, node("summary", {}, t("memory.recalled", { number: found.lines.length })),
    node("p", { class: "soft small" }, t("memory.recalled_for", { text: found.question.slice(0, 200) })), node("ul", { class: "list" }, rows));
}

const PARTS = ["words", "meaning", "rest"];

// One bar for each part of a score that raised it; a line that no part explains has one bar.
function bars(line, percent) {
  const raised = PARTS.filter((part) => line.parts[part] > 0);
  const whole = raised.reduce((sum, part) => sum + line.parts[part], 0);
  if (!whole) return [node("i", { style: `width: ${Math.round(percent)}%` })];
  return raised.map((part) => node("i", { class: part, style: `width: ${((percent * line.parts[part]) / whole).toFixed(1)}%` }));
}

// "words 0.41 · meaning 0.38 · who and when 0.02"
function parts(line) {
  return PARTS.filter((part) => Math.abs(line.parts[part]) >= 0.005)
    .map((part) => `${t(`memory.by_${part}`)} ${line.parts[part].toFixed(2)}`).join(" · ");
}

function reason(line) {
  if (line.is_pinned) return t("memory.because_pinned");
  const where = line.origin === "supermemory" ? t("memory.because_copy") : t(line.kind === "fact" ? "memory.because_fact" : "memory.because_said");
  return parts(line) ? t("memory.because_parts", { where, parts: parts(line) }) : t("memory.because", { where, score: line.score.toFixed(2) });
}
