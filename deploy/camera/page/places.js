export const byId = (id) => document.getElementById(id);

export function figure(id, value, unit = "") {
  const place = byId(id);
  const small = document.createElement("small");
  small.textContent = unit;
  place.replaceChildren(value, ...(unit ? [" ", small] : []));
}

export function chip(kind, text) {
  byId("chip").dataset.state = kind;
  byId("chip-text").textContent = text;
}

export function banner(kind, text, short) {
  const place = byId("banner");
  place.hidden = kind === "live" || (kind === "none" && byId("live").hidden);
  place.dataset.state = kind;
  if (place.textContent !== text) place.textContent = text;
  chip(kind, short);
}
