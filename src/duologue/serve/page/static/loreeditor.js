// The lorebook of a card: what is put into the prompt when a key is said.

import { attempt, confirmed, icon, iconButton, node, notice, post, put, remove, t } from "./base.js";
import { choiceField, numberField, switchField, textField } from "./fields.js";

const POSITIONS = ["before_char", "after_char", "at_depth", "note_top", "note_bottom", "before_examples", "after_examples"];
const LOGICS = ["and_any", "and_all", "not_any", "not_all"];
const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

// `editor` is the card's: it holds the version and shows the card anew.
export function loreEditor(editor) {
  const book = editor.card.lorebook;
  const list = node("div", { class: "stack lore-list" }, (book?.entries ?? []).map((entry) => entryForm(editor, entry)));
  const add = iconButton("add", t("characters.lore_add"), () => {
    const form = entryForm(editor, { ...EMPTY, place: null });
    list.append(form);
    form.open = true;
    form.querySelector("input").focus();
  }, { class: "small", isShown: true });
  const none = book?.entries.length ? null : node("p", { class: "soft" }, t("characters.lore_empty"));
  return node("section", { class: "card stack", "aria-label": t("characters.lorebook") },
    node("div", { class: "spread" }, node("h2", {}, t("characters.lorebook")), add), node("p", { class: "soft small" }, t("characters.lore_about")), none, list);
}

const EMPTY = {
  title: "", keys: [], secondary_keys: [], content: "", is_enabled: true, is_constant: false, is_selective: false, order: 100, position: "before_char",
  logic: "and_any", probability: 100, case_sensitive: false, depth: 4, sticky: 0, cooldown: 0, delay: 0,
};

function entryForm(editor, entry) {
  const values = { ...entry };
  const bind = (name, read) => (field) => {
    field.input.addEventListener("input", () => { values[name] = read(field.input); });
    return field;
  };
  const text = bind2(bind, (input) => input.value);
  const list = bind2(bind, (input) => words(input.value));
  const count = bind2(bind, (input) => Math.round(Number(input.value)) || 0);
  const flag = bind2(bind, (input) => input.checked);
  const whole = (name, more = {}) => count(name, numberField(t(`characters.lore_${name}`), entry[name], { step: "1", min: "0", ...more }));
  const body = node("div", { class: "stack lore-body" },
    node("div", { class: "two" }, text("title", textField(t("characters.lore_title"), entry.title)),
      list("keys", textField(t("characters.lore_keys"), entry.keys.join(", "), { hint: t("characters.lore_keys_hint") }))),
    text("content", textField(t("characters.lore_content"), entry.content, { rows: 4 })),
    node("div", { class: "row" }, flag("is_enabled", switchField(t("characters.lore_is_enabled"), entry.is_enabled)),
      flag("is_constant", switchField(t("characters.lore_is_constant"), entry.is_constant))),
    node("details", {}, node("summary", { class: "soft" }, t("characters.lore_more")), node("div", { class: "stack" },
      node("div", { class: "two" },
        list("secondary_keys", textField(t("characters.lore_secondary_keys"), entry.secondary_keys.join(", "))),
        text("logic", choiceField(t("characters.lore_logic"), entry.logic, LOGICS.map((name) => [name, t(`characters.logic_${name}`)])))),
      node("div", { class: "two" },
        text("position", choiceField(t("characters.lore_position"), entry.position, POSITIONS.map((name) => [name, t(`characters.position_${name}`)]))),
        whole("depth")),
      node("div", { class: "four" }, whole("order", { min: "-1000000" }), whole("probability", { max: "100" }), whole("sticky"), whole("cooldown"), whole("delay")),
      node("div", { class: "row" }, flag("is_selective", switchField(t("characters.lore_is_selective"), entry.is_selective)),
        flag("case_sensitive", switchField(t("characters.lore_case_sensitive"), entry.case_sensitive))))),
    node("div", { class: "spread" },
      iconButton("trash", t("characters.lore_delete"), () => attempt(() => drop(editor, entry, form)), { class: "plain small", isShown: true }),
      node("button", { type: "button", class: "button primary small", onclick: () => attempt(() => save(editor, entry, values)) }, t("characters.lore_save"))));
  const marks = [
    entry.is_enabled ? null : node("span", { class: "badge" }, t("characters.lore_off")),
    entry.is_constant ? node("span", { class: "badge lamp" }, t("characters.lore_always")) : null,
  ];
  const form = node("details", { class: "lore-entry" },
    node("summary", {}, icon("bookmark"), node("strong", {}, entry.title || entry.keys.join(", ") || t("characters.untitled")),
      node("span", { class: "soft small" }, entry.keys.slice(0, 6).join(", ")), marks), body);
  return form;
}

function bind2(bind, read) {
  return (name, field) => bind(name, read)(field);
}

async function save(editor, entry, values) {
  const { place, ...fields } = values;
  const body = { version: editor.card.version, entry: fields };
  const path = `${editor.path}/lorebook`;
  await editor.sent(() => (place === null ? post(path, body) : put(`${path}/${place}`, body)), { keeps: true });
  notice(t("characters.saved"));
}

async function drop(editor, entry, form) {
  if (entry.place === null) {
    form.remove();
    return;
  }
  const heading = t("characters.lore_delete_heading", { name: entry.title || entry.keys[0] || t("characters.untitled") });
  if (!(await confirmed({ heading, text: t("characters.lore_delete_text"), action: t("characters.lore_delete"), isDanger: true }))) return;
  await editor.sent(() => remove(`${editor.path}/lorebook/${entry.place}?version=${editor.card.version}`), { keeps: true });
}
