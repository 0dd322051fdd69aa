// How long one has been talking in one sitting; after the operator's time the page suggests a break, again and again.

import { app, icon, iconButton, node, t } from "./base.js";

const AWAY_MINUTES = 15; // without a key or a touch for so long, a sitting is over

export function watchSitting(place) {
  let [minutes, away, told] = [0, 0, 0];
  const act = () => { away = 0; };
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, act, { passive: true });

  setInterval(() => {
    const every = app.state?.break_reminder_minutes ?? 0;
    away += 1;
    if (away > AWAY_MINUTES) { minutes = told = 0; return; }
    if (document.hidden || app.panel !== "talk") return;
    minutes += 1;
    if (every && minutes - told >= every) { told = minutes; remind(minutes); }
  }, 60000);

  function remind(count) {
    place.replaceChildren(node("div", { class: "note warn", role: "status" }, icon("bell"), node("span", {}, t("talk.break", { count })),
      iconButton("close", t("base.close"), () => place.replaceChildren(), { class: "plain small" })));
  }
}
