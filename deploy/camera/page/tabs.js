import { live } from "./live.js";
import { own, stopCamera } from "./own.js";
import { byId } from "./places.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

export function select(name) {
  for (const tab of tabs) {
    const on = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
  }
  if (name === "live") stopCamera();
  (name === "live" ? live : own).update();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    const other = event.key === "Home" ? tabs[0] : event.key === "End" ? tabs.at(-1) : tabs.find((one) => one !== tab);
    select(other.getAttribute("aria-controls"));
    other.focus();
    event.preventDefault();
  });
}
