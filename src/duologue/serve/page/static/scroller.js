// The messages one sees: a window on a chat of any length. Only what is near is in the page; the rest is read as one scrolls.

import { attempt, get, iconButton, node, t } from "./base.js";
import { messageNode } from "./message.js";

const STEP = 60; // messages read at once
const MOST = 150; // messages in the page
const NEAR = 600; // pixels from an end at which more is read

// makeScroller(talk) -> {element, open, reload, …}. `talk` has path, and what messageNode needs.
export function makeScroller(talk) {
  const list = node("ol", { class: "messages", "aria-label": t("talk.messages") });
  const older = node("div", { class: "older" });
  const toEnd = iconButton("down", t("talk.to_end"), () => scroller.showEnd(), { class: "to-end", hidden: true });
  const room = node("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": t("talk.messages") }, older, list);
  const nodes = new Map(); // message id -> {key, element}
  let [first, total, isReading] = [0, 0, false];
  let messages = [];
  let growing = null;
  let isSticky = true;

  room.addEventListener("scroll", () => {
    isSticky = room.scrollHeight - room.scrollTop - room.clientHeight < 80;
    toEnd.hidden = isSticky && !hasNewer();
    readWhatIsNear();
  }, { passive: true });
  new ResizeObserver(() => { if (isSticky) stick(); }).observe(list);
  new ResizeObserver(() => { if (isSticky) stick(); }).observe(room);

  const end = () => first + messages.length;
  const hasNewer = () => end() < total;
  const stick = () => { room.scrollTop = room.scrollHeight; };

  function readWhatIsNear() {
    if (isReading || !room.clientHeight) return;
    if (room.scrollTop < NEAR && first > 0) attempt(() => read({ before: first }));
    else if (hasNewer() && room.scrollHeight - room.scrollTop - room.clientHeight < NEAR) attempt(() => read({ before: end() + STEP, isNewer: true }));
  }

  async function read({ before, isNewer = false }) {
    if (isReading) return;
    isReading = true;
    const path = talk.path;
    try {
      const page = await get(`${path}?before=${before}&limit=${STEP}`);
      if (path !== talk.path) return;
      total = page.total;
      if (isNewer) {
        messages = [...messages, ...page.messages.slice(Math.max(0, end() - page.first))];
        const surplus = Math.max(0, messages.length - MOST);
        messages = messages.slice(surplus);
        first += surplus;
      } else {
        messages = [...page.messages.slice(0, first - page.first), ...messages].slice(0, MOST);
        first = page.first;
      }
      keepPlace(show);
      requestAnimationFrame(readWhatIsNear); // one may have scrolled on meanwhile
    } finally {
      isReading = false;
    }
  }

  // Changes what is shown without moving what one looks at.
  function keepPlace(change) {
    const anchor = [...list.children].find((each) => each.getBoundingClientRect().bottom > room.getBoundingClientRect().top + 40);
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) room.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  function take(page) {
    ({ messages, first, total } = page);
    show();
  }

  function show() {
    const last = messages.at(-1);
    const elements = messages.map((message, at) => {
      const isLast = message === last && !hasNewer();
      const previous = messages[at - 1];
      const key = JSON.stringify([message, isLast, previous?.time]);
      const known = nodes.get(message.id);
      if (known?.key === key) return known.element;
      const element = messageNode(message, { talk, isLast, previous: previous ?? (first ? message : null) });
      nodes.set(message.id, { key, element });
      return element;
    });
    for (const id of nodes.keys()) if (!messages.some((message) => message.id === id)) nodes.delete(id);
    const wanted = growing && !hasNewer() ? [...elements, growing] : elements;
    wanted.forEach((element, at) => { if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null); });
    while (list.children.length > wanted.length) list.lastElementChild.remove();
    older.replaceChildren(first ? node("div", { class: "skeleton", "aria-label": t("base.loading") }) : "");
    toEnd.hidden = isSticky && !hasNewer();
  }

  const scroller = {
    element: node("div", { class: "view" }, room, toEnd),
    get messages() { return messages; },
    get isAtEnd() { return !hasNewer(); },
    take(page, { at = 0 } = {}) {
      nodes.clear();
      take(page);
      const wanted = at && nodes.get(at)?.element;
      isSticky = !wanted;
      if (wanted) {
        wanted.scrollIntoView({ block: "center" });
        wanted.classList.add("wanted");
        wanted.focus({ preventScroll: true });
      } else stick();
    },
    // Reads what is shown anew; new messages at the end are shown when the end was.
    async reload() {
      const path = talk.path;
      const before = hasNewer() ? end() : -1;
      const page = await get(`${path}?before=${before}&limit=${Math.min(MOST, Math.max(STEP, messages.length))}`);
      if (path !== talk.path) return null;
      if (isSticky) { take(page); stick(); } else keepPlace(() => take(page));
      return page;
    },
    async showEnd() {
      if (hasNewer()) take(await get(`${talk.path}?limit=${STEP}`));
      isSticky = true;
      stick();
      toEnd.hidden = true;
    },
    // Takes messages away from the view from the one at this place on: they are about to be made anew.
    cut(at) {
      if (at < 0) return;
      messages = messages.slice(0, at);
      total = end();
      show();
    },
    add(message) {
      messages = [...messages, message];
      total = end();
      isSticky = true;
      show();
      stick();
    },
    set growing(element) { growing = element; show(); if (isSticky) stick(); },
    nodeOf: (message) => nodes.get(message.id)?.element,
    forget: (message) => { nodes.delete(message.id); show(); },
    clear() { nodes.clear(); messages = []; [first, total] = [0, 0]; growing = null; isSticky = true; show(); },
  };
  return scroller;
}
