// Things one sees and touches in every panel: icons, avatars, menus, dialogs, places to drop files.

import { node, t } from "./base.js";

// Strokes on a field of 24 by 24.
const ICONS = {
  add: "M12 5v14M5 12h14", arrow: "M12 19V5M6 11l6-6 6 6", back: "M15 5l-7 7 7 7", bell: "M6 17v-6a6 6 0 0 1 12 0v6M4 17h16M10 20h4",
  bookmark: "M7 4h10v16l-5-4-5 4z", branch: "M6 4v10M18 4v4a5 5 0 0 1-5 5H6M6 14v6M6 20h0", chat: "M4 6a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-6l-5 4v-4H6a2 2 0 0 1-2-2z",
  check: "M5 12.5l4.5 4.5L19 7.5", close: "M6 6l12 12M18 6L6 18", copy: "M9 9h10v11H9zM5 15V4h10", dislike: "M7 13V4H4v9zM7 13l4 7a2 2 0 0 0 2-2v-3h5a2 2 0 0 0 2-2.300l-1.200-6.700A2 2 0 0 0 16.800 4H7", down: "M6 9l6 6 6-6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14", edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3", eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  gear: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6M12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M18.4 5.6l-2.2 2.2M7.8 16.2l-2.2 2.2",
  help: "M9 9.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.1-1.5 2.4M12 18v.2", hide: "M4 4l16 16M9.9 5.8A9 9 0 0 1 12 5.5c6 0 9.5 6.5 9.5 6.5a17 17 0 0 1-3 3.800M6 7.5A17 17 0 0 0 2.5 12S6 18.5 12 18.5a9 9 0 0 0 3.600-.7",
  like: "M7 11v9H4v-9zM7 11l4-7a2 2 0 0 1 2 2v3h5a2 2 0 0 1 2 2.300l-1.200 6.700a2 2 0 0 1-2 2H7",
  lamp: "M9 4h6l4 9H5zM12 13v6M8 20h8", layers: "M12 4l8 4-8 4-8-4zM4 12l8 4 8-4M4 16l8 4 8-4", left: "M14.5 6l-6 6 6 6", lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  menu: "M4 7h16M4 12h16M4 17h16", memory: "M6 5h10a2 2 0 0 1 2 2v13H8a2 2 0 0 1-2-2zM6 17a2 2 0 0 1 2-1h10M9.5 9h5", moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  more: "M5.5 12a.6.6 0 1 0 .01 0M12 12a.6.6 0 1 0 .01 0M18.5 12a.6.6 0 1 0 .01 0", note: "M5 4h14v11l-5 5H5zM14 20v-5h5M8.5 9h7M8.5 12.5h4", offline: "M4 4l16 16M8 12.5a6 6 0 0 1 2-1.200M14.5 11.5a6 6 0 0 1 2 1.200M5 9.5A10 10 0 0 1 7.5 8M11 7a11 11 0 0 1 8 2.5M12 17.5v.1",
  people: "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M3 19.5c0-3 2.5-5 6-5s6 2 6 5M16 5a3.200 3.200 0 0 1 0 6.200M17.5 14.800c2 .6 3.5 2.300 3.5 4.700", person: "M12 11.5a3.800 3.800 0 1 0 0-7.5 3.800 3.800 0 0 0 0 7.5M5 20c0-3.5 3-5.5 7-5.5s7 2 7 5.5",
  pin: "M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v5", play: "M8 5l11 7-11 7z", redo: "M19 5v5h-5M19 10a7.5 7.5 0 1 0 .5 4.5", right: "M9.5 6l6 6-6 6",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M15.5 15.5L20 20", send: "M12 19V5M6 11l6-6 6 6", spark: "M12 4l1.800 5.200L19 11l-5.200 1.800L12 18l-1.800-5.200L5 11l5.200-1.800z", stop: "M7 7h10v10H7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400", train: "M4 19V9M9 19v-6M14 19V6M19 19v-9",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5", undo: "M5 5v5h5M5 10a7.5 7.5 0 1 1-.5 4.5", up: "M6 15l6-6 6 6", upload: "M12 16V5M7 9l5-5 5 5M5 20h14", warn: "M12 4l9 16H3zM12 10v4.5M12 17.300v.1",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

// A button with an icon and, when `label` is shown, words: iconButton("edit", t("talk.edit"), run, {class: "plain small"}).
export function iconButton(name, label, run, { class: kind = "plain", isShown = false, ...more } = {}) {
  const words = isShown ? { } : { "aria-label": label, title: label };
  const classes = `button ${kind}${isShown ? "" : " icon-only"}`;
  return node("button", { type: "button", class: classes, onclick: run, ...words, ...more }, icon(name), isShown ? label : null);
}

// Picture of a character (an entry of app.state.characters), or the first letter of the name.
export function avatar(entry, size = "2.75rem") {
  const shown = node("span", { class: "avatar", "aria-hidden": "true", style: `--size: ${size}` });
  const initial = () => shown.replaceChildren((entry?.name ?? "?").trim().charAt(0).toUpperCase());
  initial();
  if (entry?.has_picture) {
    const path = `/page/characters/${encodeURIComponent(entry.id)}/avatar.webp`;
    shown.replaceChildren(node("img", { src: path, alt: "", onerror: initial }));
  }
  return shown;
}

// A menu at a button or a point: popup(button, [{icon, label, run, kbd, isDanger}, …]). Arrow keys move, Escape closes.
export function popup(at, items) {
  document.querySelector(".menu")?.remove();
  const before = document.activeElement;
  const close = ({ returns = true } = {}) => {
    menu.remove();
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", close);
    at.setAttribute?.("aria-expanded", "false");
    if (returns) before?.focus?.();
  };
  const outside = (event) => menu.contains(event.target) || close({ returns: false });
  const buttons = items.filter(Boolean).map((item) =>
    node("button", { type: "button", role: "menuitem", class: item.isDanger ? "danger" : "", onclick: () => { close(); item.run(); } },
      icon(item.icon), item.label, item.kbd ? node("kbd", {}, item.kbd) : null));
  const menu = node("div", { class: "menu", role: "menu" }, buttons);
  menu.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (moves) buttons.at((buttons.indexOf(document.activeElement) + moves) % buttons.length).focus();
    else if (event.key === "Home") buttons[0].focus();
    else if (event.key === "End") buttons.at(-1).focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(menu);
  place(menu, at.getBoundingClientRect());
  at.setAttribute?.("aria-expanded", "true");
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", close);
  buttons[0]?.focus();
  return close;
}

function place(menu, at) {
  const { width, height } = menu.getBoundingClientRect();
  const isBelow = at.bottom + height + 8 < innerHeight || at.top < height + 8;
  menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${Math.max(8, isBelow ? Math.min(at.bottom + 4, innerHeight - height - 8) : at.top - height - 4)}px`;
}

// A dialog with a heading and any content; returns the <dialog>. It closes with Escape and with dialog.close(value).
export function dialog(heading, ...content) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const shown = node("dialog", { "aria-labelledby": id }, node("h2", { id }, heading), ...content);
  shown.addEventListener("close", () => shown.remove());
  document.body.append(shown);
  shown.showModal();
  return shown;
}

// Asks before something is done: if (await confirmed({heading, text, action: t("…"), isDanger: true})) …
export function confirmed({ heading, text, action, isDanger = false }) {
  return new Promise((resolve) => {
    const yes = node("button", { type: "button", class: `button primary${isDanger ? " danger" : ""}` }, action);
    const no = node("button", { type: "button", class: "button", autofocus: true }, t("base.cancel"));
    const shown = dialog(heading, node("p", { class: "soft" }, text), node("div", { class: "row end" }, no, yes));
    yes.onclick = () => shown.close("yes");
    no.onclick = () => shown.close();
    shown.addEventListener("close", () => resolve(shown.returnValue === "yes"));
  });
}

// Takes files that are dropped on an element (anywhere on it) or chosen with its <input type="file">.
export function fileDrop(element, take) {
  let depth = 0;
  const over = (change) => { depth = Math.max(0, depth + change); element.classList.toggle("over", depth > 0); };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  element.addEventListener("dragenter", (event) => { if (hasFiles(event)) { event.preventDefault(); over(1); } });
  element.addEventListener("dragleave", (event) => { if (hasFiles(event)) over(-1); });
  element.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
  element.querySelector("input[type=file]")?.addEventListener("change", (event) => {
    if (event.target.files.length) take([...event.target.files]);
    event.target.value = "";
  });
}

// Saves an answer of `get` (a Response) as a file.
export async function saveFile(answer, name) {
  const address = URL.createObjectURL(await answer.blob());
  node("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
