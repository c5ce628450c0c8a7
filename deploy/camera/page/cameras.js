import { start } from "./live.js";
import { byId } from "./places.js";
import { shared } from "./state.js";

const buttons = new Map(); // kept by name, so that the focus stays

export function choose(name) {
  if (name === shared.chosen) return;
  shared.chosen = name;
  shared.source = shared.sources.find((one) => one.name === name)?.state ?? "starting";
  start();
  mark();
}

// A button for each camera where there are several; which of them is shown stays, as long as there is such a one.
export function offer(sources) {
  shared.sources = sources;
  const names = sources.map(({ name }) => name);
  if (!names.includes(shared.chosen)) choose(names[0] ?? null);
  byId("sources").hidden = names.length < 2;
  for (const [name, button] of buttons) {
    if (!names.includes(name)) {
      button.remove();
      buttons.delete(name);
    }
  }
  for (const name of names) {
    if (buttons.has(name)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(Object.assign(document.createElement("span"), { className: "dot" }), name);
    button.addEventListener("click", () => choose(name));
    buttons.set(name, button);
    byId("sources").append(button);
  }
  mark();
}

function mark() {
  for (const { name, state } of shared.sources) {
    const button = buttons.get(name);
    if (!button) continue;
    button.setAttribute("aria-pressed", String(name === shared.chosen));
    button.dataset.state = state;
    button.title = state;
  }
}
