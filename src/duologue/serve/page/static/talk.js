// The panel Talk: its parts, where one is in it, and what can be done with messages and chats.

import { app, ask, attempt, get, icon, iconButton, node, notice, Offline, Panel, patch, popup, post, Refused, remove, saveFile, setSafeHtml, t } from "./base.js";
import { makeChatList } from "./chats.js";
import { makeComposer } from "./composer.js";
import { drafts } from "./keeping.js";
import { sayOpinion, showFeedback } from "./feedback.js";
import { editNode, faceOf } from "./message.js";
import { makeReplying } from "./replying.js";
import { makeScroller } from "./scroller.js";
import { watchSitting } from "./sitting.js";
import { askText, editNote, showHelp } from "./talk_dialogs.js";

const UNDO_SECONDS = 8;

customElements.define("duo-talk", class extends Panel {
  static panel = "talk";
  overview = null;
  path = "";
  greeting = 0;
  deleting = "";

  get entry() { return app.entry(); }
  get base() { return `characters/${encodeURIComponent(this.entry.id)}/chats`; }

  async enter() {
    this.build();
    if (!this.entry) return this.showEmpty("people", t("talk.nobody"), t("talk.nobody_help"), { label: t("talk.make_one"), href: app.hash("characters", "") });
    if (this.entry.fault) return this.showEmpty("warn", t("talk.broken", { name: this.entry.name }), this.entry.fault, { label: t("base.characters"), href: app.hash("characters") });
    this.composer.address(this.entry.name);
    this.isCutOff = false;
    const character = app.character;
    try {
      await this.readOverview();
      if (app.panel === "talk" && app.character === character) await this.openPlace(); // else one has gone elsewhere meanwhile
    } catch (error) {
      if (error instanceof Refused) this.showRefusal(error);
      else if (error instanceof Offline) this.isCutOff = !this.showEmpty("offline", t("talk.offline"), t("talk.offline_help"));
      else throw error;
    }
    return undefined;
  }

  build() {
    if (this.scroller) return;
    const verbs = {
      send: (text) => this.send(text), stop: () => this.stop(), isBusy: () => this.replying?.isBusy ?? false,
      editLast: () => this.editLast(), more: (at) => this.moreToSay(at), changed: (text) => this.keepDraft(text),
    };
    this.closeChats = () => { this.toggleAttribute("data-chats", false); };
    this.composer = makeComposer(verbs);
    this.scroller = makeScroller(this);
    this.replying = makeReplying(this);
    this.chatList = makeChatList(this);
    this.bar = node("header", { class: "bar" });
    this.blank = node("div", { class: "blank", hidden: true });
    this.sitting = node("div", { class: "sitting" });
    this.foot = node("div", { class: "foot" }, this.sitting, this.composer.element);
    this.replaceChildren(this.chatList.element, node("section", { class: "conversation", "aria-label": t("base.talk") }, this.bar, this.scroller.element, this.blank, this.foot, this.replying.element));
    this.composer.show();
    this.addEventListener("keydown", (event) => this.press(event));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.comeBack(); });
    app.addEventListener("online", () => this.comeBack());
    app.addEventListener("help", showHelp);
    app.addEventListener("characters", () => { if (app.panel === "talk") this.maybeEnter(); });
    addEventListener("pagehide", () => this.deleteNow?.());
    watchSitting(this.sitting);
  }

  // ------------------------------------------------------------------------------------------------ where one is

  async readOverview() {
    const character = this.entry.id;
    const overview = await get(this.base);
    if (character !== this.entry?.id) return;
    this.overview = overview;
    for (const text of overview.notices) notice(text, { seconds: 0 });
    this.chatList.show();
  }

  // The list says what is being written, and how a new chat is called.
  showChats() {
    return attempt(async () => { await this.readOverview(); if (this.overview) this.showBar(); });
  }

  async openPlace() {
    if (!app.session) {
      const latest = this.overview.chats.find((chat) => chat.id !== this.deleting);
      return app.go("talk", { session: latest?.id ?? "new", replaces: true });
    }
    this.showBar();
    if (app.session === "new") return this.showNew();
    const path = `${this.base}/${encodeURIComponent(app.session)}`;
    if (path === this.path && this.blank.hidden) return this.comeBack();
    this.replying.leave();
    this.path = path;
    this.scroller.clear();
    this.composer.clearReason();
    const page = await get(`${path}?around=${this.wanted ?? 0}`);
    if (path !== this.path) return undefined;
    this.showBlank(null);
    this.scroller.take(page, { at: this.wanted });
    this.wanted = 0;
    this.composer.text = drafts.get(`draft ${path}`) ?? "";
    if (page.is_running) this.replying.start();
    this.showState(page);
    if (matchMedia("(hover: hover)").matches && !this.contains(document.activeElement)) this.composer.field.focus();
    return undefined;
  }

  // Reads again what may have gone on while nobody looked.
  async comeBack() {
    if (app.panel === "talk" && this.isCutOff) return this.maybeEnter();
    if (app.panel !== "talk" || !this.path || !this.blank.hidden || this.replying.isBusy || this.querySelector(".editing")) return undefined;
    return attempt(async () => {
      const page = await this.scroller.reload();
      if (page?.is_running && !this.replying.isBusy) this.replying.start();
      this.showState(page);
    });
  }

  showBar() {
    const menu = iconButton("more", t("talk.chat_menu"), (event) => popup(event.currentTarget, this.chatActions()), { "aria-haspopup": "menu", "aria-expanded": "false" });
    const chat = this.overview.chats.find((each) => each.id === app.session);
    const title = chat ? chat.title || t("talk.untitled") : t("talk.new_title");
    this.bar.replaceChildren(
      iconButton("menu", t("talk.chats"), () => { this.toggleAttribute("data-chats", true); this.chatList.focus(); }, { class: "plain opens" }),
      this.face(0),
      node("div", { class: "where" }, node("h2", {}, this.entry.name), node("p", { class: "small soft" }, app.state.discloses_ai ? node("span", { class: "ai" }, t("base.ai")) : null, node("span", { class: "chat-title" }, title))),
      app.session === "new" ? "" : node("a", { class: "button plain icon-only", href: app.hash("talk", this.entry.id, "new"), title: t("talk.new"), "aria-label": t("talk.new") }, icon("add")),
      app.session === "new" ? "" : menu);
  }

  showNew() {
    this.replying.leave();
    this.path = "";
    this.scroller.clear();
    this.composer.clearReason();
    this.composer.text = drafts.get(`draft ${this.base}`) ?? "";
    const { greetings } = this.overview;
    this.greeting = Math.min(this.greeting, Math.max(0, greetings.length - 1));
    const body = node("div", { class: "body", dir: "auto" });
    setSafeHtml(body, greetings[this.greeting] ?? "");
    const turn = (by) => { this.greeting = (this.greeting + by + greetings.length) % greetings.length; this.showNew(); };
    const arrows = greetings.length > 1
      ? node("div", { class: "versions", role: "group", "aria-label": t("talk.greetings") },
          iconButton("left", t("talk.earlier_greeting"), () => turn(-1), { class: "plain small" }),
          node("span", { class: "small soft", role: "status" }, t("talk.greeting_of", { at: this.greeting + 1, count: greetings.length })),
          iconButton("right", t("talk.later_greeting"), () => turn(1), { class: "plain small" }))
      : null;
    this.showBlank(node("div", { class: "opening" }, this.largeFace(), node("h1", {}, this.entry.name),
      greetings.length ? node("div", { class: "sheet" }, body) : node("p", { class: "soft" }, t("talk.say_hello", { name: this.entry.name })), arrows));
    this.foot.hidden = false;
    if (matchMedia("(hover: hover)").matches) this.composer.field.focus();
  }

  showBlank(content) {
    this.blank.hidden = !content;
    this.scroller.element.hidden = Boolean(content);
    this.foot.hidden = Boolean(content);
    this.blank.replaceChildren(content ?? "");
  }

  showEmpty(picture, heading, text, link = null) {
    this.replying.leave();
    this.path = "";
    this.bar.replaceChildren();
    this.showBlank(node("div", { class: "empty" }, icon(picture), node("h2", {}, heading), node("p", {}, text),
      link ? node("a", { class: "button primary", href: link.href }, link.label) : node("button", { type: "button", class: "button primary", onclick: () => this.maybeEnter() }, t("base.again"))));
    this.toggleAttribute("data-empty", !this.entry);
  }

  showRefusal(error) {
    if (error.code === "age_required") {
      const href = `/age?character=${encodeURIComponent(this.entry.id)}`;
      return this.showEmpty("lock", t("talk.age", { name: this.entry.name }), t("talk.age_help"), { label: t("talk.age_do"), href });
    }
    if (error.status === 404) return this.showEmpty("chat", t("talk.gone"), t("talk.gone_help"), { label: t("talk.new"), href: app.hash("talk", this.entry.id, "new") });
    return this.showEmpty("warn", t("talk.failed"), error.message);
  }

  // A question that has no answer, and others who still want to speak, are offered.
  showState(page) {
    if (!page || this.replying.isBusy) return;
    const last = this.scroller.messages.at(-1);
    const offer = node("div", { class: "offers row" });
    if (!page.is_answered) offer.append(node("button", { type: "button", class: "button small", onclick: () => this.wish("regenerate") }, icon("redo"), t("talk.answer_this")));
    else if (page.waiting.length) offer.append(node("button", { type: "button", class: "button small", onclick: () => this.wish("next") }, icon("play"), t("talk.let_speak", { name: page.waiting[0] })));
    else if (last?.ended === "length" || (last && last.role === "assistant" && !last.ended)) offer.append(node("button", { type: "button", class: "button small", onclick: () => this.wish("continue") }, icon("play"), t("talk.continue")));
    this.querySelector(".offers")?.remove();
    if (offer.childElementCount) this.composer.element.prepend(offer);
  }

  face(companion) { return faceOf(this.entry, companion, this.overview?.speakers ?? []); }

  largeFace() {
    const shown = this.face(0);
    shown.style.setProperty("--size", "7rem");
    return shown;
  }

  // ------------------------------------------------------------------------------------------------ saying

  async send(text) {
    const key = `draft ${this.path || this.base}`;
    this.composer.clearReason();
    try {
      if (!this.path) await this.makeChat();
      await this.scroller.showEnd();
      this.composer.text = "";
      this.scroller.add(pending(text));
      await post(`${this.path}/messages`, { text });
      drafts.delete(key);
      this.querySelector(".offers")?.remove();
      this.replying.start(text);
      this.showChats();
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Offline)) throw error;
      this.composer.text = text;
      await this.scroller.reload().catch(() => null);
      this.composer.explain(error.message, { seconds: error.retryAfter ?? 0, again: error.retryAfter || error instanceof Offline ? () => this.send(this.composer.text) : null });
      if (error.code === "age_required") this.showRefusal(error);
    }
    this.composer.field.focus();
  }

  async makeChat() {
    const { id } = await post(this.base, { greeting: this.greeting });
    this.path = `${this.base}/${encodeURIComponent(id)}`;
    if (app.panel === "talk") {
      history.replaceState(null, "", app.hash("talk", this.entry.id, id));
      app.session = id;
    }
    this.showBlank(null);
    this.scroller.take(await get(this.path));
  }

  async wish(kind, message = null) {
    this.composer.clearReason();
    try {
      await post(`${this.path}/replies`, { kind, ...(message ? { message_id: message.id } : {}) });
      this.querySelector(".offers")?.remove();
      if (kind !== "impersonate") await this.scroller.showEnd();
      this.replying.start();
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Offline)) throw error;
      this.composer.explain(error.message, { seconds: error.retryAfter ?? 0, again: error.retryAfter ? () => this.wish(kind, message) : null });
    }
  }

  stop() { return attempt(() => post(`${this.path}/stop`)); }

  moreToSay(at) {
    const has = Boolean(this.path);
    popup(at, [
      has && { icon: "play", label: t("talk.continue"), run: () => this.wish("continue") },
      has && { icon: "person", label: t("talk.impersonate"), run: () => this.wish("impersonate") },
      has && (this.overview?.speakers.length ?? 0) > 1 && { icon: "people", label: t("talk.next"), run: () => this.wish("next") },
      has && { icon: "note", label: t("talk.note"), run: () => attempt(() => editNote(this.path)) },
      { icon: "help", label: t("talk.help"), run: showHelp, kbd: "?" },
    ]);
  }

  keepDraft(text) {
    const key = `draft ${this.path || this.base}`;
    if (text) drafts.set(key, text);
    else drafts.delete(key);
  }

  // ------------------------------------------------------------------------------------------------ messages

  edit(message) {
    const shown = this.scroller.nodeOf(message);
    if (!shown || shown.querySelector(".editing")) return;
    const done = async (change) => {
      await attempt(async () => {
        await patch(`${this.path}/messages/${message.id}`, change);
        this.scroller.forget(message);
        await this.scroller.reload();
        if (change.regenerates) this.replying.start();
        else this.offerUndo(t("talk.edited"));
      });
    };
    const isUser = message.role === "user";
    const editing = editNode(message, {
      save: (text) => done({ text }),
      saveAndAsk: isUser ? (text) => done({ text, regenerates: true }) : null,
      cancel: () => { this.scroller.forget(message); this.composer.field.focus(); },
    });
    shown.classList.add("open");
    shown.querySelector(".body").replaceWith(editing);
    shown.querySelector(".tools").remove();
  }

  editLast() {
    const own = this.scroller.messages.findLast((message) => message.role === "user");
    if (own) this.edit(own);
  }

  regenerate(message) { return this.wish("regenerate", message); }

  async swipe(message, by) {
    if (this.replying.isBusy) return;
    if (by > 0 && message.swipe >= message.num_swipes) {
      if (!message.is_first) await this.regenerate(message);
      return;
    }
    if (by < 0 && message.swipe <= 1) return;
    await attempt(async () => {
      const { shown } = await post(`${this.path}/messages/${message.id}/show`, { by });
      const page = await this.scroller.reload();
      this.showState(page);
      this.scroller.nodeOf({ id: shown })?.querySelector(".versions button:not(:disabled)")?.focus();
    });
  }

  async branch(message) {
    await attempt(async () => {
      const { id } = await post(`${this.path}/messages/${message.id}/branch`);
      app.go("talk", { session: id });
      notice(t("talk.branched"));
    });
  }

  async copy(message) {
    await attempt(async () => {
      await navigator.clipboard.writeText(message.text);
      notice(t("talk.copied"), { seconds: 2 });
    });
  }

  async hide(message, isHidden) {
    await attempt(async () => {
      await patch(`${this.path}/messages/${message.id}`, { is_hidden: isHidden });
      await this.scroller.reload();
    });
  }

  async like(message, isLiked) {
    await attempt(async () => {
      if (await sayOpinion(this.path, message, isLiked)) await this.readOverview();
      await this.scroller.reload();
      this.scroller.nodeOf(message)?.querySelector(`.thumb.${isLiked === false || (isLiked === null && message.opinion === false) ? "dislike" : "like"}`)?.focus();
    });
  }

  async discard(message) {
    await attempt(async () => {
      const { num_deleted: count } = await remove(`${this.path}/messages/${message.id}`);
      this.showState(await this.scroller.reload());
      this.offerUndo(t(count === 1 ? "talk.deleted_one" : "talk.deleted", { count }));
      this.composer.field.focus();
      app.tell("chat");
    });
  }

  offerUndo(text) {
    const path = this.path;
    const run = async () => {
      await post(`${path}/undo`);
      if (path === this.path) this.showState(await this.scroller.reload());
      app.tell("chat");
    };
    notice(text, { action: { label: t("base.undo"), run }, seconds: UNDO_SECONDS });
  }

  // ------------------------------------------------------------------------------------------------ whole chats

  chatActions() {
    const formats = this.overview.formats;
    return [
      { icon: "edit", label: t("talk.rename"), run: () => this.rename() },
      { icon: "note", label: t("talk.note"), run: () => attempt(() => editNote(this.path)) },
      { icon: "undo", label: t("talk.undo_last"), run: () => attempt(async () => { await post(`${this.path}/undo`); this.showState(await this.scroller.reload()); }) },
      { icon: "download", label: t("talk.export"), run: () => this.export(formats[0]) },
      { icon: "download", label: t("talk.export_text"), run: () => this.export("text") },
      { icon: "like", label: t("feedback.menu"), run: () => attempt(async () => { await showFeedback(this.path); await this.readOverview(); await this.scroller.reload(); }) },
      { icon: "upload", label: t("talk.import"), run: () => this.chooseImport() },
      { icon: "trash", label: t("talk.delete_chat"), run: () => this.deleteChat(), isDanger: true },
    ];
  }

  async rename() {
    const title = await askText(t("talk.rename"), this.overview.chats.find((chat) => chat.id === app.session)?.title ?? "", t("talk.title"));
    if (title === null) return;
    await attempt(async () => { await patch(this.path, { title }); await this.readOverview(); this.showBar(); });
  }

  async export(format) {
    await attempt(async () => {
      const answer = await get(`${this.path}/file?format=${encodeURIComponent(format)}`);
      const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "chat";
      await saveFile(answer, name);
    });
  }

  chooseImport() {
    const input = node("input", { type: "file" });
    input.addEventListener("change", () => this.importFiles([...input.files]));
    input.click();
  }

  async importFiles(files) {
    await attempt(async () => {
      for (const file of files) {
        const { ids, notes } = await ask("POST", `${this.base}/import`, file);
        notice([t("talk.imported", { count: ids.length }), ...notes].join(" "));
        app.go("talk", { session: ids[0] });
      }
    });
  }

  // The store forgets a chat to the last byte, so it is asked to only when nobody has said "undo" for a while.
  deleteChat() {
    this.deleteNow?.();
    const [id, path] = [app.session, this.path];
    this.deleting = id;
    const end = () => { clearTimeout(timer); closeNotice(); this.deleteNow = null; this.deleting = ""; };
    const really = () => { end(); return attempt(async () => { await ask("DELETE", path, undefined, { keepalive: true }); await this.readOverview(); app.tell("chat"); }); };
    const back = () => { end(); app.go("talk", { session: id }); };
    const closeNotice = notice(t("talk.deleted_chat"), { action: { label: t("base.undo"), run: back }, seconds: UNDO_SECONDS });
    const timer = setTimeout(really, UNDO_SECONDS * 1000);
    this.deleteNow = really;
    this.path = "";
    app.go("talk", { session: "", replaces: true });
  }

  async openHit(hit) {
    this.closeChats();
    await attempt(async () => {
      await post(`${this.base}/${encodeURIComponent(hit.session_id)}/messages/${hit.message_id}/show`, { by: 0 });
      this.wanted = hit.message_id;
      this.path = "";
      app.go("talk", { session: hit.session_id });
    });
  }

  // ------------------------------------------------------------------------------------------------ keys

  press(event) {
    if (event.key === "Escape" && this.hasAttribute("data-chats")) this.closeChats();
    else if (event.key === "Escape" && this.replying.isBusy) this.stop();
    else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && this.maySwipe(event)) this.swipe(this.scroller.messages.at(-1), event.key === "ArrowLeft" ? -1 : 1);
    else return;
    event.preventDefault();
  }

  maySwipe(event) {
    const isTyping = event.target.closest("input, textarea, select") && !(event.target === this.composer.field && !this.composer.text);
    const last = this.scroller.messages.at(-1);
    return !isTyping && !event.altKey && !event.ctrlKey && !event.metaKey && this.path && last?.role === "assistant" && this.scroller.isAtEnd;
  }
});

// The user's message before the server has stored it.
function pending(text) {
  const html = document.createElement("p");
  html.textContent = text;
  return {
    id: -1, role: "user", name: "", companion: -1, text, html: html.outerHTML.replaceAll("\n", "<br>"), time: new Date().toISOString(),
    revision: 0, swipe: 1, num_swipes: 1, is_first: false, is_hidden: false, ended: "", recalled: [], opinion: null,
  };
}
