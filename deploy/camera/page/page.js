import { followPictures, say, tick } from "./live.js";
import { judgeFile } from "./own.js";
import { byId } from "./places.js";
import { giveToken, takeToken } from "./program.js";
import { shared } from "./state.js";
import { followStatus } from "./status.js";
import { select } from "./tabs.js";

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
for (const [kind, carried] of [
  ["drop", "dataTransfer"],
  ["paste", "clipboardData"],
]) {
  document.addEventListener(kind, (event) => {
    document.body.classList.remove("dropping");
    const file = event[carried]?.files[0];
    if (kind === "drop") event.preventDefault();
    if (!file || shared.locked) return;
    select("own");
    judgeFile(file);
  });
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  giveToken(byId("key-token").value);
  byId("key-token").value = "";
});
window.addEventListener("hashchange", takeToken);
takeToken();
setInterval(tick, 100);
setInterval(say, 1000);
followStatus();
followPictures();
