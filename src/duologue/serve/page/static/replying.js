// A reply on its way: shown while it grows, picked up again after a reload, and told once to screen readers.

import { app, attempt, clockTime, follow, node, t } from "./base.js";
import { growingNode } from "./message.js";

const QUIET_MS = 2500; // after that one is told what takes so long

// makeReplying(talk) -> {start, stop, isBusy}. `talk` has path, scroller, composer, overview, entry.
export function makeReplying(talk) {
  const heard = node("div", { class: "hidden-label", role: "status", "aria-live": "polite" });
  let [unfollow, bubble, kind, part, quiet] = [null, null, "", 0, 0];

  const replying = {
    element: heard,
    get isBusy() { return Boolean(unfollow); },
    // `said` is the text that was sent: it comes back into the composer when it is refused later.
    start(said = "") {
      replying.leave();
      part = 0;
      const path = talk.path;
      const here = (run) => (data) => { if (path === talk.path) attempt(() => run(data)); };
      unfollow = follow(`${path}/events`, {
        begin: here((data) => begin(data)),
        place: here(({ place }) => wait(place)),
        text: here((data) => grow(data)),
        done: here((data) => finish(data)),
        failed: here((data) => fail(data, said)),
      });
      talk.composer.show();
    },
    // Looks no longer; the reply goes on at the server.
    leave() {
      clearTimeout(quiet);
      unfollow?.();
      [unfollow, bubble] = [null, null];
      talk.scroller.growing = null;
      talk.composer.show();
    },
  };

  function begin(data) {
    kind = data.kind;
    clearOld(data.message_id);
    if (kind === "impersonate") return;
    const speaker = talk.overview.speakers[0];
    bubble ??= growingNode(talk, { name: speaker.name, companion: 0 });
    talk.scroller.growing = bubble.element;
  }

  // What the growing reply replaces is not shown beside it.
  function clearOld(messageId) {
    const { messages } = talk.scroller;
    const last = messages.at(-1);
    if (kind === "regenerate" && messageId) talk.scroller.cut(messages.findIndex((message) => message.id === messageId));
    const isGrowing = last?.role === "assistant" && (!last.ended || kind === "continue" || (kind === "regenerate" && !messageId && !last.is_first));
    if (isGrowing && kind !== "impersonate" && talk.scroller.messages.at(-1) === last) talk.scroller.cut(messages.length - 1);
  }

  function wait(place) {
    clearTimeout(quiet);
    const name = talk.entry.name;
    if (kind === "impersonate") { talk.composer.field.placeholder = t("talk.drafting"); return; }
    if (place) { bubble?.say(t("talk.in_line", { place })); return; }
    bubble?.say(t("talk.thinking", { name }));
    quiet = setTimeout(() => bubble?.say(t("talk.waking", { name, model: talk.overview.model })), QUIET_MS);
  }

  async function grow(data) {
    clearTimeout(quiet);
    if (kind === "impersonate") { talk.composer.text = data.text.trim(); return; }
    if (data.part > part) {
      part = data.part;
      await talk.scroller.reload();
      clearOld(0);
    }
    bubble?.write(data);
    talk.scroller.growing = bubble?.element ?? null;
  }

  async function finish(data) {
    if (data.kind === "impersonate" && data.text) talk.composer.text = data.text.trim();
    const before = replying.isBusy;
    await end();
    const last = talk.scroller.messages.at(-1);
    if (before && data.kind && data.kind !== "impersonate" && last?.role === "assistant") {
      heard.textContent = `${last.name}, ${clockTime(last.time)}: ${last.text}`;
    }
  }

  async function fail(data, said) {
    const page = await end();
    const lastOwn = talk.scroller.messages.findLast((message) => message.role === "user");
    const isStored = lastOwn?.text.trim() === said.trim();
    if (said && !isStored && !talk.composer.text) talk.composer.text = said;
    const again = page && !page.is_answered ? () => talk.wish("regenerate") : null;
    talk.composer.explain(data.message, { seconds: data.retry_after, again });
  }

  async function end() {
    clearTimeout(quiet);
    unfollow?.();
    unfollow = null;
    talk.composer.address(talk.entry.name);
    const page = await talk.scroller.reload();
    bubble = null;
    talk.scroller.growing = null;
    talk.composer.show();
    talk.showState(page);
    talk.showChats();
    app.tell("chat");
    return page;
  }

  return replying;
}
