// What all elements share: asking the server, words, building of nodes, the place in the page, notices. Everything of
// widgets.js (icons, popups, dialogs, avatars, file drop), clock.js (dates) and follow.js (server-sent events) is here too.
//
// No text from the server or from a person ever becomes HTML here. Only `setSafeHtml` takes HTML, and only that of the
// server's renderer, which lets nothing through that could load, run or overlay anything.

export * from "./clock.js";
export * from "./follow.js";
export * from "./widgets.js";
import { choices } from "./keeping.js";
import { watchTheme } from "./theme.js";
import { icon } from "./widgets.js";

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.param = error.param;
    this.retryAfter = error.retryAfter ?? 0;
  }
}

export class Offline extends Error {}

// Asks a route under /page/; `body` is sent as JSON, a Blob or File as it is.
export async function ask(method, path, body, options = {}) {
  const isRaw = body instanceof Blob;
  let answer;
  try {
    answer = await fetch(`/page/${path}`, {
      method,
      headers: body === undefined || isRaw ? {} : { "Content-Type": "application/json" },
      body: body === undefined || isRaw ? body : JSON.stringify(body),
      ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    setOnline(false);
    throw new Offline(t("base.offline"));
  }
  setOnline(true);
  if (answer.status === 401) location.reload(); // the door shows its page
  if (answer.ok) return answer.headers.get("Content-Type")?.includes("json") ? answer.json() : answer;
  const refusal = await answer.json().catch(() => ({ error: { message: answer.statusText } }));
  const retryAfter = Number(answer.headers.get("Retry-After") ?? 0);
  throw new Refused(answer.status, { ...refusal.error, retryAfter });
}

export const get = (path, options) => ask("GET", path, undefined, options);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body = {}) => ask("PUT", path, body);
export const patch = (path, body = {}) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

// Words, from the server's one table.
let table = {};
export let language = "en";

export function t(key, values = {}) {
  const text = table[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export async function setLanguage(wanted) {
  choices.set("language", wanted);
  location.reload();
}

// Builds a node: node("button", {class: "plain", onclick: send, "aria-label": "Send"}, "Send").
export function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list" && name !== "form" && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function setSafeHtml(element, html) {
  element.innerHTML = html;
}

// What the page shows, shared by all panels. Changes are told as events: `app.addEventListener("place", …)`.
class App extends EventTarget {
  state = null; // GET /page/state
  panel = "talk";
  character = ""; // id
  session = ""; // id
  address = ""; // the hash that was read last

  // The address says where one is: #/talk/lila-quill/SESSION.
  read() {
    this.address = location.hash;
    const [, panel, character, session] = location.hash.split("/").map(decodeURIComponent);
    this.panel = panel || "talk";
    this.character = character || this.character || this.state?.characters[0]?.id || "";
    this.session = session || "";
    document.body.dataset.panel = this.panel;
    this.dispatchEvent(new Event("place"));
  }

  // The address of a place, for links.
  hash(panel, character = this.character, session = "") {
    const parts = [panel, character, session].map(encodeURIComponent);
    while (parts.length > 1 && !parts.at(-1)) parts.pop();
    return `#/${parts.join("/")}`;
  }

  go(panel, { character = this.character, session = "", replaces = false } = {}) {
    const hash = this.hash(panel, character, session);
    if (replaces) history.replaceState(null, "", hash);
    else if (hash !== location.hash) history.pushState(null, "", hash);
    this.read();
  }

  async refresh() {
    this.state = await get("state");
    this.dispatchEvent(new Event("state"));
  }

  entry(id = this.character) {
    return this.state?.characters.find((each) => each.id === id);
  }

  // Something about the memory or the chats has changed: `kind` is "chat", "memory", "characters" or "runs".
  tell(kind) {
    this.dispatchEvent(new Event(kind));
  }
}

export const app = new App();

let isOnline = true;
export function setOnline(now) {
  if (now === isOnline) return;
  isOnline = now;
  document.body.toggleAttribute("data-offline", !now);
  app.dispatchEvent(new Event("online"));
}

// Says something for a few seconds; screen readers hear it. `action` is {label, run}.
export function notice(text, { kind = "info", action = null, seconds = 6 } = {}) {
  const region = document.querySelector("#notices") ?? document.body.appendChild(node("div", { id: "notices" }));
  const shown = node("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" }, node("span", {}, text));
  const close = () => shown.remove();
  const run = () => { close(); attempt(action.run); };
  if (action) shown.append(node("button", { class: "button small", type: "button", onclick: run }, action.label));
  const label = { "aria-label": t("base.close"), title: t("base.close") };
  shown.append(node("button", { class: "button plain small icon-only", type: "button", onclick: close, ...label }, icon("close")));
  region.append(shown);
  if (seconds) setTimeout(close, seconds * 1000);
  return close;
}

// Runs what a person asked for; what goes wrong is said.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    notice(error.message, { kind: "error", seconds: 12 });
    if (!(error instanceof Refused || error instanceof Offline)) throw error;
    return undefined;
  }
}

// An element that fills a panel. `enter` runs each time its panel is shown or its place changes, once words are there.
export class Panel extends HTMLElement {
  static panel = "";

  connectedCallback() {
    if (this.isReady) return;
    this.isReady = true;
    settle(this, `#panel-${this.constructor.panel}`);
    started.then(() => {
      app.addEventListener("place", () => this.maybeEnter());
      this.maybeEnter();
    });
  }

  maybeEnter() {
    if (app.panel === this.constructor.panel) attempt(() => this.enter());
  }

  async enter() {}
}

// Gradio's wrappers would style and scroll what is inside them: an element fills its column itself.
export function settle(element, column) {
  document.querySelector(column)?.replaceChildren(element);
}

// When words and state are there. Gradio may put an element into the page before or after that.
let hasStarted;
export const started = new Promise((resolve) => { hasStarted = resolve; });

export async function start() {
  const known = ["en", "de"];
  const wanted = choices.get("language") ?? navigator.language.slice(0, 2);
  language = known.includes(wanted) ? wanted : "en";
  document.documentElement.lang = language;
  watchTheme();
  for (let pause = 1; ; pause = Math.min(15, pause * 2)) {
    try {
      table = await get(`words/${language}`);
      await app.refresh();
      break;
    } catch (error) {
      console.warn(error.message);
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
  }
  // A browser may tell of one move twice: who had begun to write in a panel would see it built again.
  const move = () => { if (location.hash !== app.address) app.read(); };
  addEventListener("popstate", move);
  addEventListener("hashchange", move);
  app.read();
  hasStarted();
}
