// Light or dark: the system's wish, unless a person has another.
import { effect, signal } from "@preact/signals";
import { saveSetting, setting } from "../session";

export type Theme = "light" | "dark";

const system = matchMedia("(prefers-color-scheme: dark)");

/** What a person chose; null for the system's. */
const chosen = signal<Theme | null>(null);
const wished = signal<Theme>(system.matches ? "dark" : "light");
export const theme = signal<Theme>(wished.value);

system.addEventListener("change", () => {
  wished.value = system.matches ? "dark" : "light";
});

effect(() => {
  theme.value = chosen.value ?? wished.value;
  document.documentElement.dataset["theme"] = theme.value;
});

export async function restoreTheme(): Promise<void> {
  chosen.value = (await setting<Theme | null>("theme")) ?? null;
}

export function switchTheme(): void {
  const other = theme.value === "dark" ? "light" : "dark";
  chosen.value = other === wished.value ? null : other;
  saveSetting("theme", chosen.value);
}
