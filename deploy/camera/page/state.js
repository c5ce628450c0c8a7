// What more than one part of the page needs to know, and who sets it.
export const shared = {
  // status.js
  source: "starting", // what the program says of where its pictures come from
  labels: [],
  threshold: null, // the share below which a label is not named, if the program says it
  // live.js
  newest: null, // the scene shown
  // program.js
  locked: false, // until a token is given
};
