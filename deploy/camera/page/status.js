import { offer } from "./cameras.js";
import { live } from "./live.js";
import { offerEngine, own } from "./own.js";
import { banner, byId, figure } from "./places.js";
import { awake, call, sleep } from "./program.js";
import { shared } from "./state.js";
import { select } from "./tabs.js";
import { percent, words } from "./words.js";

let toldBefore = "";

export async function followStatus() {
  for (;;) {
    await awake();
    try {
      showStatus(await (await call("api/status")).json());
    } catch (error) {
      if (error.status === undefined)
        banner("offline", "The program does not answer. This page goes on asking.", "no connection");
      else if (!shared.locked) banner("offline", error.message, "failed");
    }
    await sleep(1000);
  }
}

function showStatus({ status: whole, sources, facts, labels: given, engine }) {
  const first = toldBefore === "";
  offer(sources);
  offerEngine(engine);
  const status = sources.find(({ name }) => name === shared.chosen) ?? whole;
  shared.source = status.state;
  banner(shared.source, status.text, shared.source === "none" ? "no camera" : shared.source);
  if (shared.newest === null)
    live.veil.textContent = shared.source === "none" ? "There is no camera here." : "Waiting for the first picture …";
  if (first && shared.source === "none") select("own");
  if (typeof facts.watts === "number") figure("watts", facts.watts.toFixed(1), "W");
  else figure("watts", "no meter");
  const { watts, ...others } = facts;
  const told = JSON.stringify([others, given]);
  if (told === toldBefore) return;
  toldBefore = told;
  shared.labels = given;
  shared.threshold = typeof facts.threshold === "number" ? facts.threshold : null;
  if (shared.threshold !== null)
    byId("threshold").textContent =
      `When no label reaches ${percent(shared.threshold)}, the answer is "unsure" and not a guess.`;
  if (facts.recorded?.length)
    byId("stored").replaceChildren(
      Object.assign(document.createElement("strong"), { textContent: "This is recorded" }),
      ` to ${words(facts.recorded)}, as the program was told to. Pictures of your own are not: they are forgotten.`,
    );
  byId("about").textContent =
    [facts.model, facts.engine ?? facts.target].filter(Boolean).map(words).join(" · ") || "What it runs is not said";
  byId("fact-list").replaceChildren(
    ...Object.entries(others).flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name.replaceAll("_", " ") }),
      Object.assign(document.createElement("dd"), { textContent: words(value) }),
    ]),
  );
  byId("facts").hidden = Object.keys(others).length === 0;
  for (const view of [live, own]) view.label();
}
