// Likes, the one question whether a model may learn from a chat, and what it would learn.

import { app, attempt, dialog, get, icon, iconButton, node, notice, post, put, t } from "./base.js";

// The two thumbs of a reply; the pressed one takes its mark back.
export function thumbs(message, talk) {
  return [["like", true], ["dislike", false]].map(([name, isLiked]) =>
    iconButton(name, t(`feedback.${name}`), () => talk.like(message, message.opinion === isLiked ? null : isLiked),
      { class: `plain small thumb ${name}`, "aria-pressed": String(message.opinion === isLiked) }));
}

// Stores an opinion; the first one of a chat asks once. Until there is a yes, nothing is used. Tells whether it said yes.
export async function sayOpinion(path, message, isLiked) {
  const { consent } = await put(`${path}/messages/${message.id}/opinion`, { is_liked: isLiked });
  if (consent || isLiked === null) return false;
  await put(`${path}/consent`, { state: "asked" });
  const answer = await askConsent();
  if (answer) await put(`${path}/consent`, { state: answer });
  return answer === "given";
}

// Resolves to "given", "refused", or "" when the dialog was closed without an answer.
function askConsent() {
  return new Promise((resolve) => {
    const shown = dialog(t("feedback.heading"), ...explained(), answers(() => shown));
    shown.classList.add("consent");
    shown.addEventListener("close", () => resolve(shown.returnValue));
  });
}

function explained() {
  return ["what", "who", "back", "same"].map((key) => node("p", {}, t(`feedback.${key}`, { name: app.entry()?.name ?? "" })));
}

// Both answers look the same; the one that is chosen already is, for who only presses Enter, is no.
function answers(of) {
  const answer = (label, state, more = {}) => node("button", { type: "button", class: "button", onclick: () => of().close(state), ...more }, label);
  return node("div", { class: "row end" }, answer(t("feedback.no"), "refused", { autofocus: true }), answer(t("feedback.yes"), "given"));
}

// The consent of a chat, and what is taken from it.
export async function showFeedback(path) {
  const body = node("div", { class: "stack" });
  const show = (found) => body.replaceChildren(...content(path, found, show));
  show(await get(`${path}/feedback`));
  const shown = dialog(t("feedback.menu"), body,
    node("div", { class: "row end" }, node("button", { type: "button", class: "button", autofocus: true, onclick: () => shown.close() }, t("base.close"))));
  shown.classList.add("feedback");
  return new Promise((resolve) => { shown.addEventListener("close", resolve); });
}

function content(path, found, show) {
  const isGiven = found.consent === "given";
  const change = (state) => attempt(async () => show(await put(`${path}/consent`, { state })));
  const choice = (label, state) => node("button", { type: "button", class: "button", "aria-pressed": String(found.consent === state), onclick: () => change(state) },
    found.consent === state ? icon("check") : null, label);
  return [
    node("p", { role: "status" }, node("strong", {}, t(isGiven ? "feedback.is_given" : "feedback.is_refused"))),
    node("details", {}, node("summary", { class: "soft" }, t("feedback.heading")), ...explained()),
    node("div", { class: "row" }, choice(t("feedback.no"), "refused"), choice(t("feedback.yes"), "given")),
    node("h3", {}, found.pieces.length ? t("feedback.pieces", { count: found.pieces.length }) : t("feedback.none")),
    node("ul", { class: "list" }, found.pieces.map((piece) => pieceNode(path, piece, show))),
  ];
}

function pieceNode(path, piece, show) {
  const side = (name) => piece[name] && node("p", { class: "small", dir: "auto" }, node("span", { class: "soft" }, t(`feedback.${name}`), " "), piece[name]);
  const take = () => attempt(async () => { show(await post(`${path}/feedback/remove`, { source: piece.source })); notice(t("feedback.removed")); });
  return node("li", { class: "card", "data-source": piece.source },
    node("div", { class: "spread" }, node("strong", { class: "small" }, t(`feedback.kind_${piece.kind}`)),
      iconButton("trash", t("feedback.remove"), take, { class: "plain small" })),
    side("better") || null, side("worse") || null);
}
