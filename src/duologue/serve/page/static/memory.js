// Memory: what a character remembers of the visitor; searched, changed, pinned, forgotten with a receipt, and why it was recalled.

import { app, attempt, confirmed, dateTime, dialog, get, icon, iconButton, node, notice, number, Panel, patch, popup, post, relativeTime, saveFile, t } from "./base.js";
import { pausing, skeletons, textField } from "./fields.js";
import { lastRecalled, showWhy } from "./memorywhy.js";
import { importMemories } from "./memoryimport.js";

const KINDS = ["", "turn", "fact", "pinned"];

customElements.define("duo-memory", class extends Panel {
  static panel = "memory";

  get path() {
    return `characters/${encodeURIComponent(this.character)}/memory`;
  }

  async enter() {
    const entry = app.entry();
    if (!entry) return this.nobody();
    if (this.character !== app.character || !this.list) this.frame(entry);
    await this.refresh();
    if (!this.isListening) {
      this.isListening = true;
      app.addEventListener("memory", () => app.panel === "memory" && attempt(() => this.refresh()));
    }
    return undefined;
  }

  nobody() {
    this.replaceChildren(node("div", { class: "page" }, node("div", { class: "empty" }, icon("memory"), node("h2", {}, t("memory.nobody")),
      node("a", { class: "button primary", href: "#/characters" }, t("memory.to_characters")))));
  }

  frame(entry) {
    this.character = app.character;
    this.kind = "";
    this.chosen = new Set();
    this.counts = node("p", {}, t("base.loading"));
    const search = node("input", { type: "search", class: "input", placeholder: t("memory.search"), "aria-label": t("memory.search") });
    search.addEventListener("input", pausing(() => attempt(() => this.load())));
    this.search = search;
    this.kinds = node("div", { class: "row tight kinds", role: "group", "aria-label": t("memory.show") });
    this.list = node("ul", { class: "list memories", "aria-live": "polite" });
    this.more = node("div", { class: "row more" });
    this.bar = node("div", { class: "save-bar", hidden: true });
    this.recalled = node("div");
    const menu = iconButton("more", t("memory.more"), () => popup(menu, this.actions()), { "aria-haspopup": "menu" });
    this.replaceChildren(node("div", { class: "page" },
      node("div", { class: "page-head" }, node("div", {}, node("h1", {}, t("memory.heading", { name: entry.name })), this.counts), menu),
      node("div", { class: "stack" }, this.recalled, node("div", { class: "spread" }, this.kinds, node("div", { class: "input search-field" }, search)), this.list, this.more), this.bar));
    this.list.append(skeletons(4, "4rem"));
  }

  async refresh() {
    try {
      const [counts, recalled] = await Promise.all([get(`${this.path}/counts`), lastRecalled(this.character)]);
      this.showCounts(counts);
      this.recalled.replaceChildren(...(recalled ? [recalled] : []));
    } catch (error) {
      if (error.code === "memory_off") return this.off(error);
      if (error.code === "age_required") return this.off(error);
      throw error;
    }
    return this.load();
  }

  off(error) {
    this.list = null;
    this.replaceChildren(node("div", { class: "page" }, node("div", { class: "empty" }, icon("hide"), node("h2", {}, t("memory.off")), node("p", {}, error.message))));
  }

  showCounts(counts) {
    const copy = counts.has_copy ? ` ${t("memory.copy", { place: counts.copy_at })}` : ` ${t("memory.here_only")}`;
    this.counts.textContent = t("memory.counts", { turns: number(counts.turn), facts: number(counts.fact) }) + copy;
    const numbers = { "": counts.turn + counts.fact, turn: counts.turn, fact: counts.fact, pinned: counts.pinned };
    this.kinds.replaceChildren(...KINDS.map((kind) => node("button", {
      type: "button", class: `button small${this.kind === kind ? " primary" : ""}`, "aria-pressed": String(this.kind === kind),
      onclick: () => { this.kind = kind; this.showCounts(counts); attempt(() => this.load()); },
    }, `${t(`memory.kind_${kind || "all"}`)} ${number(numbers[kind])}`)));
  }

  async load(before = 0) {
    const asked = new URLSearchParams();
    const question = this.search.value.trim();
    if (question) asked.set("q", question);
    if (before) asked.set("before", before);
    if (this.kind === "pinned") asked.set("pinned", "1");
    else if (this.kind) asked.set("kind", this.kind);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const found = await get(`${this.path}?${asked}`);
    if (turn !== this.turn) return; // somebody has typed on
    const lines = question ? found.lines.filter((line) => this.fits(line)) : found.lines;
    if (!before) {
      this.chosen.clear();
      this.showBar();
      this.list.replaceChildren();
    }
    this.list.append(...lines.map((line) => this.row(line)));
    if (!this.list.children.length) this.list.append(this.none(question));
    this.more.replaceChildren(...(found.next ? [iconButton("down", t("memory.older"), () => attempt(() => this.load(found.next)), { class: "", isShown: true })] : []));
  }

  fits(line) {
    return !this.kind || (this.kind === "pinned" ? line.is_pinned : line.kind === this.kind);
  }

  none(question) {
    return node("li", { class: "empty" }, icon(question ? "search" : "memory"), node("h2", {}, t(question ? "memory.none_found" : "memory.empty")),
      question ? null : node("p", {}, t("memory.empty_text", { name: app.entry()?.name ?? "" })));
  }

  row(line) {
    const tick = node("input", { type: "checkbox", "aria-label": t("memory.choose", { text: line.text.slice(0, 60) }) });
    tick.addEventListener("change", () => { this.chosen[tick.checked ? "add" : "delete"](line.id); this.showBar(); });
    const marks = [
      line.kind === "fact" ? node("span", { class: "badge lamp" }, t("memory.fact"), line.slot ? ` · ${line.slot}` : "") : null,
      line.is_pinned ? node("span", { class: "badge good" }, icon("pin"), t("memory.pinned")) : null,
      line.is_private ? node("span", { class: "badge danger" }, icon("hide"), t("memory.private")) : null,
      line.original ? node("span", { class: "badge" }, t("memory.edited")) : null,
      line.used_until ? node("span", { class: "badge warn" }, t("memory.used_until", { day: line.used_until.slice(0, 10) })) : null,
    ];
    const who = line.name || t(line.speaker === "user" ? "memory.you" : "memory.character");
    const menu = iconButton("more", t("memory.actions"), () => popup(menu, this.lineActions(line, row)), { class: "plain small", "aria-haspopup": "menu" });
    const row = node("li", { class: "card memory", "data-id": String(line.id) }, tick,
      node("div", { class: "said" }, node("p", { class: "card-text" }, line.text),
        node("div", { class: "row tight soft small" }, node("strong", {}, who), node("time", { datetime: line.said_at, title: dateTime(line.said_at) }, relativeTime(line.said_at)),
          line.session_id ? node("a", { href: app.hash("talk", this.character, line.session_id) }, line.session || t("memory.chat")) : null, marks)), menu);
    return row;
  }

  lineActions(line, row) {
    const change = (body, said) => () => attempt(async () => {
      const changed = await patch(`${this.path}/${line.id}`, body);
      if (row.isConnected) row.replaceWith(this.row(changed));
      else await this.load(); // a search has made the list anew meanwhile
      this.showCounts(await get(`${this.path}/counts`));
      notice(said);
    });
    return [
      { icon: "edit", label: t("memory.edit"), run: () => this.edit(line, row) },
      { icon: "pin", label: t(line.is_pinned ? "memory.unpin" : "memory.pin"), run: change({ is_pinned: !line.is_pinned }, t(line.is_pinned ? "memory.unpinned_said" : "memory.pinned_said")) },
      { icon: line.is_private ? "eye" : "hide", label: t(line.is_private ? "memory.publish" : "memory.hide"), run: change({ is_private: !line.is_private }, t("memory.changed")) },
      { icon: "help", label: t("memory.why"), run: () => attempt(() => showWhy(this.path, line)) },
      { icon: "trash", label: t("memory.forget"), isDanger: true, run: () => attempt(() => this.forget([line.id])) },
    ];
  }

  edit(line, row) {
    const field = textField(t("memory.says"), line.text, { rows: 4, hint: t("memory.edit_hint") });
    const save = node("button", { type: "button", class: "button primary" }, t("base.save"));
    const shown = dialog(t("memory.edit"), field, node("div", { class: "row end" }, node("button", { type: "button", class: "button", onclick: () => shown.close() }, t("base.cancel")), save));
    save.onclick = () => attempt(async () => {
      row.replaceWith(this.row(await patch(`${this.path}/${line.id}`, { text: field.input.value })));
      shown.close();
    });
    field.input.focus();
  }

  showBar() {
    this.bar.hidden = !this.chosen.size;
    this.bar.replaceChildren(node("span", {}, t("memory.chosen", { number: this.chosen.size })),
      iconButton("trash", t("memory.forget"), () => attempt(() => this.forget([...this.chosen])), { class: "danger", isShown: true }));
  }

  async forget(ids) {
    const isSure = await confirmed({ heading: t("memory.forget_heading", { number: ids.length }), text: t("memory.forget_text"), action: t("memory.forget"), isDanger: true });
    if (!isSure) return;
    const receipt = await post(`${this.path}/forget`, { ids });
    await this.refresh();
    showReceipt(receipt);
  }

  actions() {
    const save = (form) => async () => {
      const answer = await get(`${this.path}-export?form=${form}`);
      await saveFile(answer, `${this.character}-memories.${form}`);
    };
    const isAdmin = app.state.visitor.role === "admin";
    return [
      { icon: "download", label: t("memory.export_jsonl"), run: () => attempt(save("jsonl")) },
      { icon: "note", label: t("memory.export_md"), run: () => attempt(save("md")) },
      { icon: "upload", label: t("memory.import"), run: () => importMemories(this.path, () => this.refresh()) },
      isAdmin ? { icon: "check", label: t("memory.receipts"), run: () => attempt(() => showReceipts(this.path)) } : null,
    ];
  }
});

function receiptRows(receipt) {
  const hosted = ["none", "done", "queued"].includes(receipt.hosted) ? t(`memory.hosted_${receipt.hosted}`) : receipt.hosted;
  return node("dl", { class: "facts receipt" }, [
    [t("memory.receipt_number"), `#${receipt.receipt_id}, ${dateTime(receipt.at)}`],
    [t("memory.receipt_lines"), t("memory.counts", { turns: number(receipt.num_lines), facts: number(receipt.num_facts) })],
    [t("memory.receipt_files"), t("memory.receipt_read", { files: receipt.num_files, kb: number(Math.ceil(receipt.num_bytes / 1024)) })],
    [t("memory.receipt_traces"), number(receipt.num_traces)],
    [t("memory.receipt_found"), number(receipt.num_found)],
    [t("memory.receipt_copy"), hosted],
  ].flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

function showReceipt(receipt) {
  const proof = node("p", { class: `note ${receipt.is_proved ? "" : "warn"}` }, icon(receipt.is_proved ? "check" : "warn"), node("span", {}, t(receipt.is_proved ? "memory.proved" : "memory.not_proved")));
  const notes = receipt.notes.map((text) => node("p", { class: "soft small" }, text));
  const done = node("button", { type: "button", class: "button primary" }, t("base.close"));
  const shown = dialog(t("memory.receipt"), proof, receiptRows(receipt), ...notes, node("div", { class: "row end" }, done));
  done.onclick = () => shown.close();
}

async function showReceipts(path) {
  const { receipts } = await get(`${path}-receipts`);
  const list = receipts.length ? receipts.map((receipt) => node("div", { class: "card" }, receiptRows(receipt))) : [node("p", { class: "soft" }, t("memory.no_receipts"))];
  const done = node("button", { type: "button", class: "button" }, t("base.close"));
  const shown = dialog(t("memory.receipts"), node("div", { class: "stack" }, list), node("div", { class: "row end" }, done));
  done.onclick = () => shown.close();
}
