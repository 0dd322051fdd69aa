// A card that was dropped or chosen: looked at before anything is made of it.

import { app, ask, attempt, dialog, get, icon, node, notice, number, post, remove, t } from "./base.js";
import { choiceField } from "./fields.js";

const ENDINGS = /\.(png|apng|json|charx)$/i;

const mayAdd = () => app.state?.visitor.role === "admin" && !app.state.is_single;

// Opens the file chooser.
export function chooseCard() {
  const input = node("input", { type: "file", accept: ".png,.apng,.json,.charx,image/png,application/json" });
  input.addEventListener("change", () => input.files.length && attempt(() => previewCard(input.files[0])));
  input.click();
}

// Takes card files dropped anywhere on the page, unless a panel has its own use for them.
export function takeDrops() {
  let depth = 0;
  const cover = node("div", { id: "drop-anywhere", "aria-hidden": "true" }, node("div", { class: "drop over" }, icon("upload"), node("strong", {}, "")));
  const show = (change) => {
    depth = Math.max(0, depth + change);
    cover.querySelector("strong").textContent = t(mayAdd() ? "characters.drop_here" : app.state?.is_single ? "characters.single_short" : "characters.drop_admin");
    if (depth && !cover.isConnected) document.body.append(cover);
    if (!depth) cover.remove();
  };
  const isOurs = (event) => event.dataTransfer?.types.includes("Files") && app.panel !== "train";
  document.addEventListener("dragenter", (event) => isOurs(event) && !event.defaultPrevented && (event.preventDefault(), show(1)));
  document.addEventListener("dragleave", (event) => isOurs(event) && show(-1));
  document.addEventListener("dragover", (event) => isOurs(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!isOurs(event)) return;
    const isTaken = event.defaultPrevented;
    event.preventDefault();
    show(-depth);
    const [file] = event.dataTransfer.files;
    if (isTaken || !file || !mayAdd()) return;
    if (ENDINGS.test(file.name)) attempt(() => previewCard(file));
    else notice(t("characters.no_card", { name: file.name }), { kind: "error", seconds: 10 });
  });
}

export async function previewCard(file) {
  const done = notice(t("characters.reading", { name: file.name }), { seconds: 0 });
  try {
    const upload = await ask("POST", `uploads?name=${encodeURIComponent(file.name)}`, file);
    const seen = await get(`cards/${upload.id}`).catch(async (error) => { await remove(`uploads/${upload.id}`); throw error; });
    show(file, upload.id, seen);
  } finally {
    done();
  }
}

function show(file, upload, seen) {
  const address = /\.a?png$/i.test(file.name) ? URL.createObjectURL(file) : "";
  const picture = address ? node("img", { src: address, alt: "", class: "card-picture" }) : null;
  const recipe = choiceField(t("characters.recipe"), "quickstart", seen.recipes.map((name) => [name, name]), { hint: t("characters.recipe_hint") });
  const make = node("button", { type: "button", class: "button primary", disabled: Boolean(seen.refusal) }, icon("add"), t("characters.make"));
  const cancel = node("button", { type: "button", class: "button" }, t("base.cancel"));
  const shown = dialog(seen.nickname || seen.name,
    node("div", { class: "card-look" }, picture, node("div", { class: "stack" }, facts(seen), remarks(seen))),
    parts(seen), seen.refusal ? "" : node("details", {}, node("summary", { class: "soft" }, t("characters.options")), recipe),
    node("div", { class: "row end" }, cancel, make));
  shown.classList.add("wide", "card-preview");
  cancel.onclick = () => shown.close();
  make.onclick = () => attempt(async () => {
    make.disabled = true;
    try {
      const { id } = await post("characters", { upload, recipe: recipe.input.value });
      shown.close("made");
      await app.refresh();
      notice(t("characters.made", { name: seen.nickname || seen.name }));
      app.go("talk", { character: id });
    } finally {
      make.disabled = false;
    }
  });
  shown.addEventListener("close", () => {
    if (address) URL.revokeObjectURL(address);
    remove(`uploads/${upload}`).catch((error) => console.warn(error.message));
  });
}

function facts(seen) {
  const rows = [
    [t("characters.file"), `${seen.file}, ${seen.form.toUpperCase()}, ${number(Math.ceil(seen.num_bytes / 1024))} KB`],
    [t("characters.creator"), seen.creator],
    [t("characters.rating"), seen.refusal ? "–" : t(`characters.rating_${seen.rating}`)],
    [t("characters.tags"), seen.tags.slice(0, 16).join(", ")],
    [t("characters.greetings"), String((seen.greeting ? 1 : 0) + seen.alternate_greetings.length)],
    [t("characters.lorebook"), seen.lorebook ? t("characters.lore_count", { number: seen.lorebook.entries.length }) : t("characters.none")],
  ];
  return node("dl", { class: "facts" }, rows.filter(([, value]) => value).flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

function remarks(seen) {
  const said = [];
  if (seen.refusal) said.push(node("p", { class: "note error", role: "alert" }, seen.refusal));
  if (seen.is_there) said.push(node("p", { class: "note warn" }, t("characters.is_there", { name: seen.name })));
  if (seen.unknown_macros.length) said.push(node("p", { class: "note" }, t("characters.macros", { macros: seen.unknown_macros.slice(0, 12).join(", ") })));
  if (seen.num_warnings) {
    said.push(node("details", { class: "note warn" }, node("summary", {}, t("characters.warnings", { number: seen.num_warnings })),
      node("ul", {}, seen.warnings.map((text) => node("li", {}, text)))));
  }
  return said;
}

function parts(seen) {
  const texts = ["description", "personality", "scenario", "greeting", "example_dialogue", "system_prompt", "post_history_instructions", "creator_notes"];
  const shown = texts.filter((name) => seen[name].trim()).map((name) =>
    node("details", { open: name === "description" || name === "greeting" }, node("summary", {}, t(`characters.${name}`)), node("p", { class: "card-text" }, seen[name])));
  for (const entry of (seen.lorebook?.entries ?? []).slice(0, 30)) {
    const title = entry.title || entry.keys.join(", ") || t("characters.untitled");
    shown.push(node("details", {}, node("summary", {}, `${t("characters.lore")}: ${title}`), node("p", { class: "card-text" }, entry.content)));
  }
  return node("div", { class: "card-parts" }, shown);
}
