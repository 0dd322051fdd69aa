// Light or dark: what the person chose, else what their system says.

import { choices } from "./keeping.js";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

export function themeChoice() {
  return choices.get("theme") ?? "system"; // "light", "dark" or "system"
}

export function setTheme(choice) {
  choices.set("theme", choice);
  apply();
}

export function isDark() {
  const choice = themeChoice();
  return choice === "dark" || (choice === "system" && systemIsDark.matches);
}

export function watchTheme() {
  apply();
  systemIsDark.addEventListener("change", apply);
  // Gradio sets the class by the system alone, after us.
  new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
}

function apply() {
  if (document.body.classList.contains("dark") !== isDark()) document.body.classList.toggle("dark", isDark());
}
