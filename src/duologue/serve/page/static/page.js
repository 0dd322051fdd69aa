// The page: every element, and the frame around them. A part that cannot be read does not keep the others from working.

import { notice, start, t } from "./base.js";
import "./frame.js";

const PANELS = ["talk", "characters", "memory", "context", "train", "settings"];

start().then(() => Promise.all(PANELS.map((name) => import(`./${name}.js`).catch((error) => {
  console.error(error);
  notice(t("base.broken", { reason: error.message }), { kind: "error", seconds: 0 });
}))));
