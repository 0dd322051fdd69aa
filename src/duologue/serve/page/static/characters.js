// Characters: everyone who lives here, a card dropped anywhere on the page, and the way into the editor.

import { app, attempt, avatar, confirmed, get, icon, iconButton, node, notice, Panel, popup, post, remove, saveFile, t } from "./base.js";
import { openEditor } from "./cardeditor.js";
import { chooseCard, takeDrops } from "./cardpreview.js";
import { skeletons } from "./fields.js";

export const RATING_BADGES = { general: "good", mature: "warn", adult: "danger" };

export function badges(entry) {
  return [
    node("span", { class: `badge ${RATING_BADGES[entry.rating] ?? ""}` }, t(`characters.rating_${entry.rating}`)),
    entry.is_trained ? node("span", { class: "badge lamp" }, t("characters.trained")) : null,
    entry.num_lore ? node("span", { class: "badge" }, t("characters.lore_count", { number: entry.num_lore })) : null,
  ];
}

export async function exportCard(id, form) {
  const answer = await get(`characters/${encodeURIComponent(id)}/card/export?form=${form}`);
  await saveFile(answer, `${id}.${form}`);
  const leftOut = answer.headers.get("X-Left-Out");
  if (leftOut) notice(t("characters.left_out", { what: leftOut }), { kind: "info", seconds: 12 });
}

export async function deleteCharacter(entry) {
  const isSure = await confirmed({
    heading: t("characters.delete_heading", { name: entry.name }),
    text: t("characters.delete_text"),
    action: t("characters.delete"),
    isDanger: true,
  });
  if (!isSure) return;
  const { removed } = await remove(`characters/${encodeURIComponent(entry.id)}`);
  await app.refresh();
  if (app.character === entry.id) app.character = app.state.characters[0]?.id ?? "";
  app.go("characters", { character: app.character });
  const run = () => restore(removed);
  notice(t("characters.deleted", { name: entry.name }), { action: { label: t("base.undo"), run }, seconds: 15 });
}

async function restore(removed) {
  const { id } = await post("removed", { removed });
  await app.refresh();
  app.go("characters", { character: id });
}

customElements.define("duo-characters", class extends Panel {
  static panel = "characters";

  connectedCallback() {
    super.connectedCallback();
    takeDrops();
  }

  async enter() {
    if (app.session === "edit" && app.character) return openEditor(this, app.character);
    if (!this.querySelector(".gallery")) this.replaceChildren(node("div", { class: "page" }, skeletons(3, "9rem")));
    const found = await get("characters");
    if (app.session !== "edit") this.show(found);
    return undefined;
  }

  show(found) {
    this.mayAdd = found.may_edit && !found.is_single;
    const cards = found.characters.map((entry) => this.card(entry, found));
    const body = cards.length ? node("ul", { class: "grid gallery" }, cards) : this.empty();
    const removed = found.removed.length ? this.removed(found.removed) : null;
    const hint = found.may_edit && found.is_single ? node("p", { class: "note" }, t("characters.single")) : null;
    this.replaceChildren(node("div", { class: "page" }, this.head(cards.length), node("div", { class: "stack" }, hint, body, removed)));
  }

  head(number) {
    const add = this.mayAdd ? iconButton("add", t("characters.add"), () => chooseCard(), { class: "primary", isShown: true }) : null;
    const about = this.mayAdd ? t("characters.about_admin") : t("characters.about");
    return node("div", { class: "page-head" }, node("div", {}, node("h1", {}, t("characters.heading")), node("p", {}, about)), number ? add : null);
  }

  empty() {
    const button = this.mayAdd ? iconButton("upload", t("characters.choose"), () => chooseCard(), { class: "primary", isShown: true }) : null;
    return node("div", { class: "empty" }, icon("people"), node("h2", {}, t("characters.empty_heading")),
      node("p", {}, this.mayAdd ? t("characters.empty_text") : t("characters.empty_user")), button);
  }

  card(entry, found) {
    const talk = node("a", { class: "button primary", href: app.hash("talk", entry.id) }, icon("chat"), t("characters.talk"));
    const edit = found.may_edit && !entry.fault
      ? node("a", { class: "button", href: app.hash("characters", entry.id, "edit") }, icon("edit"), t("characters.edit")) : null;
    const menu = found.may_edit ? this.menu(entry, found) : null;
    const about = entry.fault
      ? node("p", { class: "note error small" }, entry.fault)
      : node("p", { class: "about" }, entry.needs_age ? t("characters.needs_age") : entry.about);
    const tags = entry.tags.slice(0, 4).map((tag) => node("span", { class: "badge" }, tag));
    return node("li", { class: "card character", "data-id": entry.id },
      node("div", { class: "who" }, avatar(entry, "4.5rem"),
        node("div", {}, node("h2", {}, entry.name), entry.creator ? node("p", { class: "soft small" }, t("characters.by", { creator: entry.creator })) : null,
          node("div", { class: "row tight" }, entry.fault ? node("span", { class: "badge danger" }, t("characters.broken")) : badges(entry)))),
      about, tags.length ? node("div", { class: "row tight" }, tags) : null,
      node("div", { class: "row actions" }, entry.fault ? null : talk, edit, menu));
  }

  menu(entry, found) {
    const forms = entry.fault ? [] : ["png", "json", "charx"].map((form) => ({
      icon: "download", label: t(`characters.export_${form}`), run: () => attempt(() => exportCard(entry.id, form)),
    }));
    const gone = found.is_single ? null : { icon: "trash", label: t("characters.delete"), isDanger: true, run: () => attempt(() => deleteCharacter(entry)) };
    if (!forms.length && !gone) return null;
    const label = t("characters.more", { name: entry.name });
    const button = iconButton("more", label, () => popup(button, [...forms, gone]), { "aria-haspopup": "menu" });
    return button;
  }

  removed(list) {
    const rows = list.map((each) => node("li", { class: "spread removed-row" }, node("span", {}, each.name),
      node("button", { type: "button", class: "button small", onclick: () => attempt(() => restore(each.id)) }, icon("undo"), t("characters.restore"))));
    return node("details", { class: "card" }, node("summary", {}, t("characters.removed", { number: list.length })), node("ul", { class: "list" }, rows));
  }
});
