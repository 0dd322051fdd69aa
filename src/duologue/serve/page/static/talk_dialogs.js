// The dialogs of the panel Talk: keys and help, a chat's title, the author's note.

import { attempt, dialog, get, node, put, t } from "./base.js";

const KEYS = [["Enter", "send"], ["Shift + Enter", "line"], ["↑", "edit"], ["Esc", "stop"], ["← →", "swipe"], ["Ctrl + Enter", "save"], ["?", "help"]];

export function showHelp() {
  if (document.querySelector("dialog.help")) return;
  const close = node("button", { type: "button", class: "button primary", autofocus: true, onclick: () => shown.close() }, t("base.close"));
  const shown = dialog(t("talk.help"),
    node("dl", { class: "keys" }, KEYS.map(([key, name]) => [node("dt", {}, node("kbd", {}, key)), node("dd", {}, t(`talk.key_${name}`))])),
    node("p", { class: "soft" }, t("talk.help_marks")),
    node("div", { class: "row end" }, close));
  shown.classList.add("help");
}

// Asks for one line of text; resolves to it, or to null.
export function askText(heading, value, label) {
  return new Promise((resolve) => {
    const field = node("input", { value, maxlength: 200, autofocus: true });
    const form = node("form", { method: "dialog", class: "stack" },
      node("label", { class: "field" }, node("span", {}, label), field),
      node("div", { class: "row end" },
        node("button", { type: "button", class: "button", onclick: () => shown.close() }, t("base.cancel")),
        node("button", { class: "button primary", value: "save" }, t("base.save"))));
    const shown = dialog(heading, form);
    shown.addEventListener("close", () => resolve(shown.returnValue === "save" ? field.value : null));
  });
}

export async function editNote(path) {
  const note = await get(`${path}/note`);
  const text = node("textarea", { rows: 5, maxlength: 20000, autofocus: true });
  text.value = note.text;
  const depth = node("input", { type: "number", min: 0, max: 1000, value: String(note.depth) });
  const form = node("form", { method: "dialog", class: "stack" },
    node("p", { class: "soft" }, t("talk.note_help")),
    node("label", { class: "field" }, node("span", {}, t("talk.note")), text),
    node("label", { class: "field" }, node("span", {}, t("talk.note_depth")), depth, node("small", {}, t("talk.note_depth_help"))),
    node("div", { class: "row end" },
      node("button", { type: "button", class: "button", onclick: () => shown.close() }, t("base.cancel")),
      node("button", { class: "button primary", value: "save" }, t("base.save"))));
  const shown = dialog(t("talk.note"), form);
  shown.addEventListener("close", () => {
    if (shown.returnValue === "save") attempt(() => put(`${path}/note`, { text: text.value, depth: Number(depth.value) || 0 }));
  });
}
