// A message as one sees it: who, when, what, its versions, and what can be done with it.

import { thumbs } from "./feedback.js";
import { avatar, clockTime, dateTime, dayName, icon, iconButton, node, popup, relativeTime, setSafeHtml, t } from "./base.js";

// messageNode(message, {talk, isLast}) -> <li>. `talk` has the verbs: edit, regenerate, show, branch, hide, discard, copy.
export function messageNode(message, { talk, isLast, previous }) {
  const isUser = message.role === "user";
  const body = node("div", { class: "body", dir: "auto" });
  setSafeHtml(body, message.html);
  const shown = node("li", { class: `message ${isUser ? "mine" : "theirs"}${message.is_hidden ? " unseen" : ""}`, "data-id": message.id, tabindex: -1 },
    newDay(previous, message),
    isUser ? null : talk.face(message.companion),
    node("div", { class: "sheet", role: "article", "aria-label": t(isUser ? "talk.you_said" : "talk.they_said", { name: message.name }) },
      isUser ? null : node("div", { class: "name" }, message.name, node("time", { datetime: message.time, title: dateTime(message.time) }, clockTime(message.time))),
      message.is_hidden ? node("div", { class: "small soft" }, icon("hide"), " ", t("talk.is_hidden")) : null,
      body,
      ending(message),
      recalled(message),
      tools(message, { talk, isLast })));
  if (isLast && !isUser) touchSwipes(shown, (by) => talk.swipe(message, by));
  return shown;
}

// The reply while it is written.
export function growingNode(talk, { name, companion }) {
  const body = node("div", { class: "body", dir: "auto" });
  const title = node("span", {}, name);
  const state = node("div", { class: "state", role: "status" });
  const face = node("span", { class: "face-place" }, talk.face(companion));
  const shown = node("li", { class: "message theirs growing", "aria-busy": "true" }, face,
    node("div", { class: "sheet" }, node("div", { class: "name" }, title), body, state));
  return {
    element: shown,
    write(data) {
      title.textContent = data.name;
      if (data.companion !== companion) face.replaceChildren(talk.face(companion = data.companion));
      setSafeHtml(body, data.html);
      state.replaceChildren();
    },
    say(text, isThinking = true) {
      state.replaceChildren(isThinking ? node("span", { class: "dots", "aria-hidden": "true" }, node("i"), node("i"), node("i")) : "", node("span", {}, text));
    },
  };
}

export function faceOf(entry, companion, speakers) {
  if (companion < 0) return avatar({ name: "?" });
  if (!companion) return avatar(entry);
  const shown = avatar({ name: speakers[companion]?.name });
  const initial = [...shown.childNodes];
  const address = `/page/characters/${encodeURIComponent(entry.id)}/avatar.webp?companion=${companion}`;
  shown.replaceChildren(node("img", { src: address, alt: "", onerror: () => shown.replaceChildren(...initial) }));
  return shown;
}

function newDay(previous, message) {
  const name = dayName(message.time);
  return !previous || dayName(previous.time) !== name ? node("div", { class: "day" }, node("span", {}, name)) : null;
}

function ending(message) {
  const key = { cancelled: "talk.was_stopped", length: "talk.was_cut", "": message.role === "assistant" ? "talk.was_cut_off" : "" }[message.ended];
  return key ? node("div", { class: "small soft ended" }, t(key)) : null;
}

function recalled(message) {
  if (!message.recalled.length) return null;
  const lines = message.recalled.map((line) =>
    node("li", {}, quoted(line.html),
      node("span", { class: "small soft" }, t(line.speaker === "user" ? "talk.you" : "talk.them", { name: message.name }), ", ", relativeTime(line.time))));
  const count = message.recalled.length;
  return node("details", { class: "recalled" },
    node("summary", {}, icon("lamp"), t(count === 1 ? "talk.recalled_one" : "talk.recalled", { count })), node("ul", {}, lines));
}

function quoted(html) {
  const quote = node("blockquote", { class: "body", dir: "auto" });
  setSafeHtml(quote, html);
  return quote;
}

function tools(message, { talk, isLast }) {
  const isReply = message.role === "assistant" && !message.is_first;
  const versions = message.num_swipes > 1 || (isLast && isReply)
    ? node("div", { class: "versions", role: "group", "aria-label": t("talk.versions") },
        iconButton("left", t("talk.earlier"), () => talk.swipe(message, -1), { class: "plain small", disabled: message.swipe <= 1 }),
        node("span", { class: "small soft", "aria-label": t("talk.version_of", { at: message.swipe, count: message.num_swipes }) }, `${message.swipe} / ${message.num_swipes}`),
        iconButton("right", t(message.swipe < message.num_swipes ? "talk.later" : "talk.regenerate"), () => talk.swipe(message, 1),
          { class: "plain small", disabled: message.swipe >= message.num_swipes && !isReply }))
    : null;
  const menu = iconButton("more", t("talk.menu"), (event) => popup(event.currentTarget, actions(message, { talk, isLast, isReply })),
    { class: "plain small", "aria-haspopup": "menu", "aria-expanded": "false" });
  return node("div", { class: "tools" },
    versions,
    node("div", { class: "quick" },
      isReply ? thumbs(message, talk) : null,
      isReply ? iconButton("redo", t("talk.regenerate"), () => talk.regenerate(message), { class: "plain small" }) : null,
      iconButton("edit", t("talk.edit"), () => talk.edit(message), { class: "plain small" }),
      iconButton("copy", t("talk.copy"), () => talk.copy(message), { class: "plain small" }),
      menu));
}

function actions(message, { talk, isLast, isReply }) {
  const isUser = message.role === "user";
  return [
    { icon: "edit", label: t("talk.edit"), run: () => talk.edit(message), kbd: isUser ? "↑" : "" },
    isReply && { icon: "redo", label: t("talk.regenerate"), run: () => talk.regenerate(message), kbd: isLast ? "→" : "" },
    isReply && isLast && { icon: "play", label: t("talk.continue"), run: () => talk.wish("continue") },
    { icon: "branch", label: t("talk.branch"), run: () => talk.branch(message) },
    { icon: "copy", label: t("talk.copy"), run: () => talk.copy(message) },
    message.is_hidden
      ? { icon: "eye", label: t("talk.unhide"), run: () => talk.hide(message, false) }
      : { icon: "hide", label: t("talk.hide"), run: () => talk.hide(message, true) },
    { icon: "trash", label: t("talk.delete"), run: () => talk.discard(message), isDanger: true },
  ];
}

// A field in place of the text. Saves with Ctrl+Enter, leaves with Escape.
export function editNode(message, { save, saveAndAsk, cancel }) {
  const field = node("textarea", { class: "input", rows: Math.min(14, message.text.split("\n").length + 2), "aria-label": t("talk.edit") });
  field.value = message.text;
  const shown = node("div", { class: "editing stack" }, field,
    node("div", { class: "row end" },
      node("button", { type: "button", class: "button small plain", onclick: cancel }, t("base.cancel")),
      saveAndAsk ? node("button", { type: "button", class: "button small", onclick: () => saveAndAsk(field.value) }, icon("redo"), t("talk.save_and_ask")) : null,
      node("button", { type: "button", class: "button small primary", onclick: () => save(field.value) }, t("base.save"))));
  shown.addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(field.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  requestAnimationFrame(() => { field.focus(); field.setSelectionRange(field.value.length, field.value.length); });
  return shown;
}

function touchSwipes(element, run) {
  let from = null;
  element.addEventListener("touchstart", (event) => { from = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
  element.addEventListener("touchend", (event) => {
    if (!from) return;
    const { clientX, clientY } = event.changedTouches[0];
    const [across, down] = [clientX - from.clientX, clientY - from.clientY];
    if (Math.abs(across) > 70 && Math.abs(across) > 2 * Math.abs(down)) run(across < 0 ? 1 : -1);
  }, { passive: true });
}
