// What more than one part of the page needs to know, and who sets it.
export const shared = {
  // status.js
  sources: [], // names, states and texts of the cameras, as the program says them
  chosen: null, // the name of the one that is shown; null before the program has said any
  source: "starting", // its state
  labels: [],
  threshold: null, // the share below which a label is not named, if the program says it
  // live.js
  newest: null, // the scene shown
  // program.js
  locked: false, // until a token is given
};
