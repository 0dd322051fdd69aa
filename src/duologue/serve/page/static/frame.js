// The frame: where one is and where one can go.

import { app, node, t } from "./base.js";

const PANELS = ["talk", "characters", "memory", "context", "train", "settings"];

customElements.define("duo-frame", class extends HTMLElement {
  connectedCallback() {
    app.addEventListener("place", () => this.show());
    app.addEventListener("state", () => this.show());
  }

  show() {
    const links = PANELS.filter((name) => this.offers(name)).map((name) =>
      node(
        "a",
        {
          href: `#/${name}${app.character ? `/${encodeURIComponent(app.character)}` : ""}`,
          "aria-current": app.panel === name ? "page" : undefined,
        },
        t(`base.${name}`),
      ),
    );
    this.replaceChildren(node("nav", { "aria-label": t("base.panels") }, links));
  }

  offers(name) {
    return name !== "train" || app.state?.visitor.role === "admin";
  }
});
