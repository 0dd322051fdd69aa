// The chats of a character: who one talks with, new chat, search, and the list.

import { app, attempt, avatar, fileDrop, get, icon, iconButton, node, relativeTime, t } from "./base.js";

// chatList(talk) -> {element, show()}. `talk` has overview, entry, openHit, importFiles.
export function makeChatList(talk) {
  const head = node("div", { class: "head" });
  const search = node("input", { type: "search", class: "input", placeholder: t("talk.search"), "aria-label": t("talk.search") });
  const found = node("nav", { class: "found", "aria-label": t("talk.chats") });
  const element = node("aside", { class: "chats", "aria-label": t("talk.chats") }, head, node("div", { class: "input search" }, icon("search"), search), found);
  let wanted = 0;
  let timer = 0;

  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => attempt(look), 200); });
  search.addEventListener("keydown", (event) => { if (event.key === "Escape" && search.value) { search.value = ""; look(); event.stopPropagation(); } });
  fileDrop(element, (files) => talk.importFiles(files));

  async function look() {
    const text = search.value.trim();
    const mine = (wanted += 1);
    if (!text) { list(); return; }
    const { hits } = await get(`characters/${encodeURIComponent(talk.entry.id)}/chats/search?text=${encodeURIComponent(text)}`);
    if (mine !== wanted) return;
    found.replaceChildren(
      node("p", { class: "small soft", role: "status" }, t(hits.length ? "talk.found" : "talk.found_none", { count: hits.length })),
      node("ul", { class: "list" }, hits.map((hit) => node("li", {}, hitNode(hit)))));
  }

  function hitNode(hit) {
    const parts = [];
    let at = 0;
    for (const [begin, end] of hit.matches) {
      parts.push(hit.snippet.slice(at, begin), node("mark", {}, hit.snippet.slice(begin, end)));
      at = end;
    }
    return node("button", { type: "button", class: "entry hit", onclick: () => talk.openHit(hit) },
      node("span", { class: "title" }, hit.title || t("talk.untitled")),
      node("span", { class: "detail wraps" }, parts, hit.snippet.slice(at)));
  }

  function list() {
    const chats = talk.overview?.chats ?? [];
    const entries = chats.filter((chat) => chat.id !== talk.deleting).map((chat) => node("li", {}, node("a", {
      class: "entry", href: app.hash("talk", talk.entry.id, chat.id), "aria-current": chat.id === app.session ? "page" : undefined, onclick: talk.closeChats,
    }, node("span", { class: "title" }, chat.is_branch ? icon("branch") : null, chat.title || t("talk.untitled")),
      chat.is_learned_from ? node("span", { class: "detail learned-from" }, icon("like"), t("feedback.in_list")) : null,
      node("span", { class: "detail" }, chat.is_running ? t("talk.is_writing") : `${relativeTime(chat.updated_at)} · ${t("talk.count", { count: chat.num_messages })}`))));
    found.replaceChildren(entries.length ? node("ul", { class: "list" }, entries) : node("p", { class: "small soft none" }, t("talk.no_chats")));
  }

  function showHead() {
    const { entry } = talk;
    const others = app.state.characters;
    const portrait = entry.has_picture
      ? node("img", { class: "portrait", src: `/page/characters/${encodeURIComponent(entry.id)}/portrait.webp`, alt: "", onerror: (event) => event.target.remove() })
      : null;
    const faces = others.length > 1
      ? node("div", { class: "faces", role: "navigation", "aria-label": t("talk.who") }, others.map((other) =>
          node("a", { href: app.hash("talk", other.id), title: other.name, "aria-label": other.name, "aria-current": other.id === entry.id ? "true" : undefined }, avatar(other, "2.9rem"))))
      : null;
    head.replaceChildren(...[
      faces,
      portrait,
      node("div", { class: "heading" }, node("h1", {}, entry.name), app.state.discloses_ai ? node("p", { class: "small soft" }, t("base.ai")) : null),
      node("div", { class: "row" },
        node("a", { class: "button primary", href: app.hash("talk", entry.id, "new"), onclick: talk.closeChats }, icon("add"), t("talk.new")),
        iconButton("close", t("talk.close_chats"), talk.closeChats, { class: "plain closes" })),
    ].filter(Boolean));
  }

  return { element, show() { showHead(); if (search.value.trim()) attempt(look); else list(); }, focus() { search.focus(); } };
}
