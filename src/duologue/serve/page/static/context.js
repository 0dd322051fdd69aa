// Context: what the model was sent for the last reply of a chat, part by part, why each part is there, and what was left out.

import { app, attempt, get, icon, iconButton, node, notice, number, Panel, put, t } from "./base.js";
import { choiceField, numberField, skeletons, textField } from "./fields.js";

const KINDS = ["system", "persona", "examples", "lore", "memory", "summary", "note", "depth_prompt", "message", "post_history", "request"];

customElements.define("duo-context", class extends Panel {
  static panel = "context";

  async enter() {
    const entry = app.entry();
    if (!entry) return this.empty("people", t("memory.nobody"), "", node("a", { class: "button primary", href: "#/characters" }, t("memory.to_characters")));
    this.path = `characters/${encodeURIComponent(app.character)}`;
    if (!this.children.length) this.replaceChildren(node("div", { class: "page" }, skeletons(4, "5rem")));
    const { chats } = await get(`${this.path}/contexts`);
    if (!chats.length) {
      return this.empty("layers", t("context.no_chat", { name: entry.name }), t("context.no_chat_text"), node("a", { class: "button primary", href: app.hash("talk") }, icon("chat"), t("characters.talk")));
    }
    const wanted = chats.find((chat) => chat.id === app.session) ?? chats.find((chat) => chat.has_context) ?? chats[0];
    return this.load(entry, chats, wanted.id);
  }

  empty(name, heading, text, button) {
    this.replaceChildren(node("div", { class: "page" }, node("div", { class: "empty" }, icon(name), node("h2", {}, heading), text ? node("p", {}, text) : null, button)));
  }

  async load(entry, chats, id, mayLoad = false) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const found = await get(`${this.path}/chats/${id}/context${mayLoad ? "?load=1" : ""}`);
    if (turn !== this.turn) return;
    this.chat = id;
    const choice = choiceField(t("context.chat"), id, chats.map((chat) => [chat.id, chat.title || t("context.untitled")]));
    choice.input.addEventListener("change", () => app.go("context", { session: choice.input.value }));
    const again = iconButton("redo", t("context.again"), () => attempt(() => this.enter()), {});
    const head = node("div", { class: "page-head" }, node("div", {}, node("h1", {}, t("context.heading")), node("p", {}, t("context.about", { name: entry.name }))), choice, again);
    const body = found.context ? this.view(found) : this.notSent(entry, chats, id);
    this.replaceChildren(node("div", { class: "page" }, head, node("div", { class: "stack" }, body, this.note(found), this.summary(found))));
  }

  notSent(entry, chats, id) {
    const run = async (event) => {
      event.target.disabled = true;
      const done = notice(t("context.loading"), { seconds: 0 });
      try {
        await attempt(() => this.load(entry, chats, id, true));
      } finally {
        done();
        event.target.disabled = false;
      }
    };
    return node("div", { class: "card empty small-empty" }, icon("layers"), node("h2", {}, t("context.not_sent")), node("p", {}, t("context.not_sent_text")),
      node("button", { type: "button", class: "button primary", onclick: run }, t("context.work_out")));
  }

  view(found) {
    const context = found.context;
    return [this.budget(context, found.is_sent), this.blocks(context), this.leftOut(context), this.lore(context)].filter(Boolean);
  }

  budget(context, isSent) {
    const sums = new Map();
    for (const block of context.blocks) sums.set(block.kind, (sums.get(block.kind) ?? 0) + block.num_tokens);
    const known = [...sums.values()].reduce((all, each) => all + each, 0);
    const frame = Math.max(0, context.num_prompt_tokens - known);
    if (frame) sums.set("frame", frame);
    const reply = context.context_tokens - context.room_tokens;
    const free = Math.max(0, context.room_tokens - context.num_prompt_tokens);
    const share = (tokens) => `${Math.max(0.4, (100 * tokens) / context.context_tokens)}%`;
    const order = [...KINDS, "frame"].filter((kind) => sums.get(kind));
    const parts = order.map((kind) => node("i", { class: `kind-${kind}`, style: `width: ${share(sums.get(kind))}`, title: `${t(`context.kind_${kind}`)}: ${number(sums.get(kind))}` }));
    parts.push(node("i", { class: "kind-free", style: `width: ${share(free)}`, title: `${t("context.kind_free")}: ${number(free)}` }),
      node("i", { class: "kind-reply", style: `width: ${share(reply)}`, title: `${t("context.kind_reply")}: ${number(reply)}` }));
    const legend = [...order.map((kind) => [kind, sums.get(kind)]), ["free", free], ["reply", reply]].map(([kind, tokens]) =>
      node("li", {}, node("i", { class: `kind-${kind}` }), t(`context.kind_${kind}`), node("strong", {}, number(tokens))));
    const words = t(isSent ? "context.sent" : "context.would_send", { tokens: number(context.num_prompt_tokens), room: number(context.room_tokens), name: context.speaker });
    return node("section", { class: "card stack", "aria-label": t("context.budget") }, node("div", { class: "spread" }, node("h2", {}, words), this.cache(context)),
      node("div", { class: "budget", role: "img", "aria-label": t("context.budget") }, parts), node("ul", { class: "legend" }, legend));
  }

  cache(context) {
    const percent = (value) => number(value, { style: "percent", maximumFractionDigits: 0 });
    if (context.cached_fraction === null || context.cached_fraction === undefined) return null;
    const more = context.session_cached_fraction === null ? "" : t("context.cache_session", { share: percent(context.session_cached_fraction) });
    return node("span", { class: "badge good", title: t("context.cache_about") }, t("context.cache", { share: percent(context.cached_fraction) }), " ", more);
  }

  blocks(context) {
    const rows = context.blocks.map((block) => node("li", {}, node("details", { class: "part", open: block.kind !== "message" && block.text.length < 400 },
      node("summary", {}, node("i", { class: `dot kind-${block.kind}` }), node("strong", {}, t(`context.kind_${block.kind}`)),
        node("span", { class: "soft small why" }, this.why(block)), node("span", { class: "tokens soft small" }, t("context.tokens", { tokens: number(block.num_tokens) }))),
      node("p", { class: "card-text" }, block.text))));
    return node("section", { class: "stack", "aria-label": t("context.parts") }, node("h2", {}, t("context.parts")), node("ol", { class: "list blocks" }, rows));
  }

  why(block) {
    if (block.kind === "message") return t(`context.role_${block.role}`);
    return block.why;
  }

  leftOut(context) {
    if (!context.left_out.length) return node("p", { class: "note" }, icon("check"), node("span", {}, t("context.nothing_left")));
    const rows = context.left_out.map((left) => node("li", {}, node("details", { class: "part" },
      node("summary", {}, node("i", { class: `dot kind-${left.kind}` }), node("strong", {}, left.num > 1 ? `${left.num} × ` : "", t(`context.kind_${left.kind}`)),
        node("span", { class: "soft small why" }, left.why), left.num_tokens ? node("span", { class: "tokens soft small" }, t("context.tokens", { tokens: number(left.num_tokens) })) : null),
      left.text ? node("p", { class: "card-text" }, left.text) : null)));
    return node("section", { class: "stack" }, node("h2", {}, t("context.left_out")), node("ul", { class: "list blocks" }, rows));
  }

  lore(context) {
    if (!context.lore.length) return null;
    const rows = context.lore.map((trace) => node("tr", {}, node("td", {}, trace.name || trace.uid || "–"), node("td", {}, trace.key),
      node("td", {}, node("span", { class: `badge ${trace.is_fired ? "good" : ""}` }, t(trace.is_fired ? "context.fired" : "context.not_fired")), " ", trace.why)));
    return node("details", { class: "card" }, node("summary", {}, t("context.lore", { number: context.lore.length })),
      node("div", { class: "table" }, node("table", {}, node("thead", {}, node("tr", {}, node("th", {}, t("context.entry")), node("th", {}, t("context.key")), node("th", {}, t("context.why")))), node("tbody", {}, rows))));
  }

  note(found) {
    const field = textField(t("context.note"), found.note.text, { rows: 3, hint: t("context.note_hint") });
    const depth = numberField(t("context.depth"), found.note.depth, { min: "0", max: "1000", step: "1" });
    const save = async () => {
      await put(`${this.path}/chats/${this.chat}/context/note`, { text: field.input.value, depth: Math.round(Number(depth.input.value)) || 0 });
      notice(t("context.note_saved"));
      await this.enter();
    };
    return node("section", { class: "card stack" }, field, node("div", { class: "spread" }, depth, node("button", { type: "button", class: "button", onclick: () => attempt(save) }, t("base.save"))));
  }

  summary(found) {
    if (!found.summary && !found.summarises) return null;
    const field = textField(t("context.summary"), found.summary?.text ?? "", { rows: 4, hint: found.summary ? t("context.summary_hint", { number: found.summary.num_messages }) : t("context.summary_none") });
    const save = async () => {
      await put(`${this.path}/chats/${this.chat}/context/summary`, { text: field.input.value });
      notice(t("context.summary_saved"));
      await this.enter();
    };
    field.input.disabled = !found.summary;
    return node("section", { class: "card stack" }, field, found.summary ? node("div", { class: "row end" }, node("button", { type: "button", class: "button", onclick: () => attempt(save) }, t("base.save"))) : null);
  }
});
