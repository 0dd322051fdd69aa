// The frame: where one is and where one can go. A bar above on a desk; on a phone its links are a bar below.

import { app, get, icon, iconButton, node, notice, settle, started, t } from "./base.js";
import { isDark, setTheme } from "./theme.js";

const KNOCK_MS = 2000;
const PANELS = { talk: "chat", characters: "people", memory: "memory", context: "layers", train: "train", settings: "gear" };

customElements.define("duo-frame", class extends HTMLElement {
  connectedCallback() {
    if (this.isReady) return;
    this.isReady = true;
    settle(this, "#frame");
    started.then(() => {
      app.addEventListener("place", () => this.show());
      app.addEventListener("state", () => this.show());
      this.show();
    });
    app.addEventListener("online", () => this.sayOnline());
    addEventListener("keydown", (event) => this.press(event));
    globalThis.visualViewport?.addEventListener("resize", fitKeyboard);
  }

  show() {
    const links = Object.keys(PANELS).filter((name) => this.offers(name)).map((name) => this.link(name));
    this.replaceChildren(
      node("a", { class: "skip", href: "#panels", onclick: skip }, t("base.skip")),
      node("a", { class: "wordmark", href: app.hash("talk") }, mark(), node("span", {}, "duologue")),
      node("nav", { "aria-label": t("base.panels") }, links),
      node("div", { class: "tools" },
        iconButton(isDark() ? "sun" : "moon", t("base.theme"), () => { setTheme(isDark() ? "light" : "dark"); this.show(); }),
        iconButton("help", t("base.help"), () => app.dispatchEvent(new Event("help")), { "aria-keyshortcuts": "?" })),
    );
  }

  link(name) {
    const current = app.panel === name ? "page" : undefined;
    return node("a", { href: app.hash(name), "aria-current": current }, icon(PANELS[name]), node("span", {}, t(`base.${name}`)));
  }

  offers(name) {
    return name !== "train" || app.state?.visitor.role === "admin";
  }

  press(event) {
    const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "?" && !isTyping && !event.ctrlKey && !event.metaKey) app.dispatchEvent(new Event("help"));
  }

  // A banner, and a knock at the server's door every few seconds until it answers.
  sayOnline() {
    this.closeNotice?.();
    clearTimeout(this.knocking);
    const isOffline = document.body.hasAttribute("data-offline");
    this.closeNotice = isOffline ? notice(t("base.offline"), { kind: "error", seconds: 0 }) : null;
    if (isOffline) this.knock();
  }

  knock() {
    this.knocking = setTimeout(() => get("state").then((state) => { app.state = state; }, () => this.knock()), KNOCK_MS);
  }
});

function skip(event) {
  event.preventDefault();
  const panel = document.querySelector(`#panel-${app.panel}`);
  panel.tabIndex = -1;
  panel.focus();
}

// On phones whose keyboard lies over the page, the panels end above it.
function fitKeyboard() {
  const covered = innerHeight - visualViewport.height - visualViewport.offsetTop;
  document.body.style.setProperty("--keyboard", covered > 80 ? `${Math.round(covered)}px` : "0px");
  document.body.toggleAttribute("data-typing", covered > 80);
}

function mark() {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 32 26");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, path] of [
    ["one", "M12 2a9.5 9.5 0 1 1-4.5 17.900L2.5 21.5l1.700-4.5A9.5 9.5 0 0 1 12 2z"],
    ["two", "M20.5 6a8.5 8.5 0 0 1 7 13.300l1.5 4.200-4.600-1.400A8.5 8.5 0 1 1 20.5 6z"],
  ]) {
    const shape = document.createElementNS(space, "path");
    shape.setAttribute("class", name);
    shape.setAttribute("d", path);
    svg.append(shape);
  }
  return svg;
}
