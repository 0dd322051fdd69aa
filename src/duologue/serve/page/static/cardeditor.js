// One character's card, all of it: texts, greetings, notes, and its lorebook (loreeditor.js).

import { app, attempt, avatar, get, icon, iconButton, node, notice, popup, post, put, t } from "./base.js";
import { cardTokens } from "./cardtokens.js";
import { badges, deleteCharacter, exportCard } from "./characters.js";
import { skeletons, textField } from "./fields.js";
import { loreEditor } from "./loreeditor.js";

const PARTS = [
  ["who", [["nickname", 0], ["description", 8], ["personality", 3], ["scenario", 3]]],
  ["beginning", [["greeting", 5], ["alternate_greetings", 4]]],
  ["voice", [["example_dialogue", 6]]],
  ["instructions", [["system_prompt", 4], ["post_history_instructions", 3]]],
  ["people", [["creator_notes", 4], ["tags", 0], ["creator", 0], ["character_version", 0]]],
];

export async function openEditor(panel, id) {
  if (panel.editing === id && panel.querySelector(".card-editor")) return;
  panel.editing = id;
  panel.replaceChildren(node("div", { class: "page" }, skeletons(5, "6rem")));
  const card = await get(`characters/${encodeURIComponent(id)}/card`);
  if (app.session === "edit" && app.character === id) panel.replaceChildren(new CardEditor(id, card).element);
}

class CardEditor {
  constructor(id, card) {
    this.id = id;
    this.path = `characters/${encodeURIComponent(id)}`;
    this.element = node("div", { class: "page card-editor" });
    this.show(card);
  }

  show(card) {
    this.card = card;
    this.changes = {};
    this.bar = node("div", { class: "save-bar", hidden: true }, node("span", {}, t("characters.unsaved")),
      node("div", { class: "row" }, node("button", { type: "button", class: "button", onclick: () => this.show(this.card) }, t("characters.discard")),
        node("button", { type: "button", class: "button primary", onclick: () => attempt(() => this.save()) }, t("base.save"))));
    const parts = card.may_edit ? PARTS.map((part) => this.part(part)) : [this.readOnly()];
    const lore = card.may_edit ? loreEditor(this) : null;
    this.tokens = card.may_edit ? cardTokens(this.path, this.element, () => ({ ...this.card, ...this.changes })) : null;
    this.element.replaceChildren(this.head(), node("div", { class: "stack" }, this.remarks(), this.tokens?.element, parts, lore), this.bar);
    this.tokens?.count();
  }

  head() {
    const entry = app.entry(this.id) ?? { id: this.id, name: this.card.name, rating: this.card.rating };
    const back = node("a", { class: "button plain icon-only", href: app.hash("characters"), "aria-label": t("base.back"), title: t("base.back") }, icon("left"));
    const talk = node("a", { class: "button", href: app.hash("talk", this.id) }, icon("chat"), t("characters.talk"));
    const more = this.card.may_edit ? iconButton("more", t("characters.more", { name: entry.name }), () => popup(more, this.actions(entry)), { "aria-haspopup": "menu" }) : null;
    return node("div", { class: "page-head" }, node("div", { class: "who" }, back, avatar(entry, "3.5rem"),
      node("div", {}, node("h1", {}, this.card.nickname || this.card.name), node("div", { class: "row tight" }, badges(entry)))), node("div", { class: "row" }, talk, more));
  }

  actions(entry) {
    const undo = this.card.num_earlier ? { icon: "undo", label: t("characters.undo", { number: this.card.num_earlier }), run: () => attempt(() => this.undo()) } : null;
    const forms = this.card.version === "none" ? [] : ["png", "json", "charx"];
    const exports = forms.map((form) => ({ icon: "download", label: t(`characters.export_${form}`), run: () => attempt(() => exportCard(this.id, form)) }));
    const gone = app.state.is_single ? null : { icon: "trash", label: t("characters.delete"), isDanger: true, run: () => attempt(() => deleteCharacter(entry)) };
    return [undo, ...exports, gone];
  }

  remarks() {
    if (!this.card.num_warnings) return null;
    return node("details", { class: "note warn" }, node("summary", {}, t("characters.warnings", { number: this.card.num_warnings })),
      node("ul", {}, this.card.warnings.map((text) => node("li", {}, text))));
  }

  part([name, fields]) {
    return node("section", { class: "card stack", "aria-label": t(`characters.part_${name}`) }, node("h2", {}, t(`characters.part_${name}`)),
      fields.map(([field, rows]) => this.field(field, rows)));
  }

  field(name, rows) {
    const hint = t(`characters.${name}_hint`);
    const more = { rows, hint: hint === `characters.${name}_hint` ? "" : hint, name };
    if (name === "alternate_greetings") return this.greetings(rows);
    const value = name === "tags" ? this.card.tags.join(", ") : this.card[name];
    const shown = textField(t(`characters.${name}`), value, { ...more, placeholder: name === "nickname" ? this.card.name : "" });
    shown.input.addEventListener("input", () => {
      const typed = shown.input.value;
      this.change(name, name === "tags" ? typed.split(",").map((tag) => tag.trim()).filter(Boolean) : typed);
    });
    return shown;
  }

  greetings(rows) {
    const list = node("div", { class: "stack" });
    const tell = () => this.change("alternate_greetings", [...list.querySelectorAll("textarea")].map((area) => area.value));
    const row = (text) => {
      const shown = textField(t("characters.alternate_greeting"), text, { rows });
      shown.input.addEventListener("input", tell);
      const gone = iconButton("trash", t("characters.greeting_delete"), () => { whole.remove(); tell(); }, { class: "plain small" });
      const whole = node("div", { class: "beside" }, shown, gone);
      return whole;
    };
    list.append(...this.card.alternate_greetings.map(row));
    const add = iconButton("add", t("characters.greeting_add"), () => { list.append(row("")); list.querySelector(".beside:last-child textarea").focus(); }, { class: "small", isShown: true });
    return node("div", { class: "stack" }, list, node("div", { class: "row" }, add));
  }

  readOnly() {
    const rows = [["greeting", this.card.greeting], ["creator_notes", this.card.creator_notes], ["tags", this.card.tags.join(", ")], ["creator", this.card.creator]];
    return node("section", { class: "card stack" }, rows.filter(([, text]) => text).map(([name, text]) =>
      node("div", {}, node("h3", {}, t(`characters.${name}`)), node("p", { class: "card-text" }, text))));
  }

  change(name, value) {
    this.changes[name] = value;
    this.bar.hidden = false;
    this.tokens?.countSoon();
  }

  async save() {
    await this.sent(() => put(`${this.path}/card`, { version: this.card.version, fields: this.changes }));
    notice(t("characters.saved"));
  }

  async undo() {
    await this.sent(() => post(`${this.path}/card/undo`, { version: this.card.version }));
    notice(t("characters.undone"));
  }

  // Sends a change; when somebody else was quicker, nothing is lost and the person decides. Texts not yet saved stay.
  async sent(send, { keeps = false } = {}) {
    try {
      const card = await send();
      const kept = keeps ? this.changes : {};
      await app.refresh();
      this.show(card);
      if (Object.keys(kept).length) this.keep(kept);
      return card;
    } catch (error) {
      if (error.code !== "conflict") throw error;
      const run = async () => this.show(await get(`${this.path}/card`));
      notice(error.message, { kind: "error", seconds: 0, action: { label: t("characters.load_theirs"), run } });
      throw new DOMException("conflict", "AbortError"); // it has been said
    }
  }

  keep(changes) {
    for (const [name, value] of Object.entries(changes)) {
      const control = this.element.querySelector(`[name="${name}"]`);
      if (control) control.value = Array.isArray(value) ? value.join(", ") : value;
      this.change(name, value);
    }
  }
}
