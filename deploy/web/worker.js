// Keeps every file of this folder, so that the page opens without a network. files.js names them and their version.
importScripts("files.js");

const own = `lc2fer-${self.registration.scope}-`; // a server may have several such folders
const name = `${own}${self.VERSION}`;

self.addEventListener("install", (event) => {
  const requests = self.FILES.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => {
  const old = (each) => each.startsWith(own) && each !== name;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(old).map((each) => caches.delete(each))))
      .then(() => self.clients.claim()),
  );
});
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    caches
      .open(name)
      .then((cache) => cache.match(event.request, { ignoreSearch: true }))
      .then((kept) => kept ?? fetch(event.request)),
  );
});
