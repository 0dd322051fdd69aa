// Following what the server tells as server-sent events, through lost connections and locked phones.

import { setOnline } from "./base.js";

const LAST = ["done", "failed"]; // after one of these events there is nothing more

// follow("characters/x/chats/y/events", { text(data) {}, done(data) {}, lost() {} }) -> stop(). Each event's data is JSON.
// `lost` is told when the connection breaks; it is made again until a last event came or `stop` was called.
export function follow(path, handlers) {
  let source = null;
  let timer = 0;
  let pause = 500;

  const stop = () => {
    clearTimeout(timer);
    source?.close();
    removeEventListener("online", now);
    document.removeEventListener("visibilitychange", now);
  };
  const now = () => {
    if (document.hidden || source?.readyState === EventSource.OPEN) return;
    open();
  };
  const open = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(`/page/${path}`);
    source.onopen = () => { pause = 500; setOnline(true); };
    source.onerror = () => {
      source.close();
      handlers.lost?.();
      timer = setTimeout(open, pause);
      pause = Math.min(10000, pause * 2);
    };
    for (const name of Object.keys(handlers).filter((each) => each !== "lost")) {
      source.addEventListener(name, (event) => {
        if (LAST.includes(name)) stop();
        handlers[name](JSON.parse(event.data));
      });
    }
  };
  addEventListener("online", now);
  document.addEventListener("visibilitychange", now);
  open();
  return stop;
}
