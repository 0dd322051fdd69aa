// Where one writes. What was refused stays in it, with the reason beside it.

import { icon, iconButton, node, t } from "./base.js";

// composer({send, stop, more, editLast, isBusy}) -> {element, …}
export function makeComposer(verbs) {
  let timer = 0;
  const field = node("textarea", { rows: 1, "aria-label": t("talk.message"), enterkeyhint: "send" });
  const button = node("button", { type: "button", class: "button primary icon-only send" });
  const extra = iconButton("add", t("talk.more"), (event) => verbs.more(event.currentTarget), { "aria-haspopup": "menu", "aria-expanded": "false" });
  const reason = node("div", { class: "reasons", role: "alert" });
  const box = node("div", { class: "box" }, extra, field, button);

  const fit = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.35)}px`;
    if (!verbs.isBusy()) button.disabled = !field.value.trim();
    verbs.changed(field.value);
  };
  const press = () => (verbs.isBusy() ? verbs.stop() : submit());
  const submit = () => { if (field.value.trim() && !verbs.isBusy()) verbs.send(field.value); };

  field.addEventListener("input", () => { composer.clearReason(); fit(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && !field.value) {
      event.preventDefault();
      verbs.editLast();
    }
  });
  button.addEventListener("click", press);
  box.addEventListener("click", (event) => { if (event.target === box) field.focus(); });

  const composer = {
    element: node("div", { class: "composer" }, reason, box),
    field,
    get text() { return field.value; },
    set text(value) { field.value = value; fit(); },
    address(name) { field.placeholder = t("talk.write_to", { name }); },
    show() {
      const isBusy = verbs.isBusy();
      const label = t(isBusy ? "talk.stop" : "talk.send");
      button.replaceChildren(icon(isBusy ? "stop" : "send"));
      button.title = label;
      button.setAttribute("aria-label", label);
      button.disabled = !isBusy && !field.value.trim();
    },
    // Says why something was refused; counts down when waiting helps and then offers `again`.
    explain(text, { seconds = 0, again = null } = {}) {
      clearInterval(timer);
      const count = node("span", { class: "badge warn", "aria-hidden": "true" });
      const retry = again ? node("button", { type: "button", class: "button small", disabled: seconds > 0, onclick: () => { composer.clearReason(); again(); } }, t("base.again")) : null;
      const close = iconButton("close", t("base.close"), () => composer.clearReason(), { class: "plain small" });
      reason.replaceChildren(node("div", { class: "note error" }, node("span", {}, text), seconds ? count : null, retry, close));
      if (!seconds) return;
      const until = Date.now() + seconds * 1000;
      const tick = () => {
        const left = Math.ceil((until - Date.now()) / 1000);
        count.textContent = t("talk.seconds", { count: Math.max(0, left) });
        if (left > 0) return;
        clearInterval(timer);
        count.remove();
        if (retry) retry.disabled = false;
      };
      tick();
      timer = setInterval(tick, 500);
    },
    clearReason() { clearInterval(timer); reason.replaceChildren(); },
    fit,
  };
  return composer;
}
