import { takeDropped } from "./given.js";
import { followPictures, say, tick } from "./live.js";
import { judgeFile } from "./own.js";
import { byId } from "./places.js";
import { giveToken, takeToken } from "./program.js";
import { shared } from "./state.js";
import { followStatus } from "./status.js";
import { select } from "./tabs.js";

takeDropped((file) => {
  if (shared.locked) return;
  select("own");
  judgeFile(file);
});
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
