// From an empty page to a first character: a name and a few sentences, a card, or the example.

import { app, attempt, icon, node, post, t } from "./base.js";
import { dropZone, upload } from "./train_data.js";

const STEPS = ["who", "data", "check", "plan", "train", "talk"];

// An empty home begins here, for whoever may make a character; others are told to wait by the panels themselves.
function begin() {
  const isEmpty = app.state?.characters.length === 0 && app.state.visitor.role === "admin";
  if (isEmpty && !location.hash) app.go("train", { replaces: true });
}

app.addEventListener("state", begin);
begin();

export function welcomeView() {
  if (app.state.is_single) return node("div", { class: "page train" }, node("div", { class: "empty" }, icon("people"), node("h2", {}, t("welcome.single")), node("p", {}, t("welcome.single_about"))));
  return node("div", { class: "page train welcome" },
    node("div", { class: "welcome-head" }, node("h1", {}, t("welcome.heading")), node("p", {}, t("welcome.about")), way()),
    node("div", { class: "welcome-ways" }, ownForm(),
      node("div", { class: "stack" }, cardWay(), exampleWay())));
}

// The whole way in six words, so that one knows what comes.
function way() {
  return node("ol", { class: "way", "aria-label": t("welcome.way") }, STEPS.map((name, at) =>
    node("li", at ? {} : { "aria-current": "step" }, node("b", {}, String(at + 1)), node("span", {}, t(`welcome.way_${name}`)))));
}

function ownForm() {
  const name = node("input", { required: true, maxLength: 80, autocomplete: "off", name: "name", placeholder: t("welcome.name_example") });
  const description = node("textarea", { rows: 4, maxLength: 8000, name: "description", placeholder: t("welcome.description_example") });
  const greeting = node("textarea", { rows: 2, maxLength: 4000, name: "greeting", placeholder: t("welcome.greeting_example") });
  const picture = node("input", { type: "file", accept: "image/png,image/jpeg,image/webp", name: "picture" });
  const said = node("p", { class: "uploading small soft", "aria-live": "polite" });
  const send = node("button", { type: "submit", class: "button primary" }, t("welcome.make"));
  const submit = (event) => {
    event.preventDefault();
    send.disabled = true;
    attempt(async () => {
      const [id = ""] = picture.files.length ? await upload([...picture.files], form) : [];
      if (picture.files.length && !id) return;
      await made(await post("welcome/character", { name: name.value, description: description.value, greeting: greeting.value, picture: id }));
    }).finally(() => { send.disabled = false; });
  };
  const field = (label, input, hint) => node("label", { class: "field" }, node("span", {}, label), input, hint ? node("small", {}, hint) : null);
  const form = node("form", { class: "card stack", onsubmit: submit },
    node("h2", {}, t("welcome.own")),
    field(t("welcome.name"), name),
    field(t("welcome.description"), description, t("welcome.description_hint")),
    field(t("welcome.greeting"), greeting, t("welcome.optional")),
    field(t("welcome.picture"), picture, t("welcome.optional")),
    said, node("div", { class: "row" }, send));
  return form;
}

function cardWay() {
  const take = (files) => attempt(async () => {
    const [id] = await upload(files.slice(0, 1), zone);
    if (id) await made(await post("characters", { upload: id }));
  });
  const zone = dropZone(t("welcome.drop_card"), take, { accept: ".png,.apng,.json,.charx", isMultiple: false });
  return node("section", { class: "card stack" }, node("div", {}, node("h2", {}, t("welcome.card")), node("p", { class: "soft small" }, t("welcome.card_about"))), zone);
}

function exampleWay() {
  const take = (event) => {
    event.target.disabled = true;
    attempt(async () => made(await post("welcome/example"))).finally(() => { event.target.disabled = false; });
  };
  return node("section", { class: "card stack" }, node("div", {}, node("h2", {}, t("welcome.example")), node("p", { class: "soft small" }, t("welcome.example_about"))),
    node("div", { class: "row" }, node("button", { type: "button", class: "button", onclick: take }, icon("spark"), t("welcome.example_take"))));
}

async function made({ id }) {
  await app.refresh();
  app.tell("characters");
  app.go("train", { character: id });
}
