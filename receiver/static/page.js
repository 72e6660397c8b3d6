// Fetches this page again when the receiver says that something changed, and puts the new <main> in place.
"use strict";

const live = document.getElementById("live");
let seen = document.body.dataset.state; // what this page shows, or a little less
let running = false;
let again = false;

async function refresh() {
  if (running) { again = true; return; }
  running = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("content").replaceWith(page.getElementById("content"));
    }
  } catch {
    live.textContent = "offline";
  } finally {
    running = false;
    if (again) { again = false; refresh(); }
  }
}

const events = new EventSource("/events");
events.onopen = () => { live.textContent = "live"; };
events.onerror = () => { if (events.readyState === EventSource.CLOSED) live.textContent = "offline"; };
events.onmessage = (event) => {
  live.textContent = "live";
  if (seen !== event.data) refresh();
  seen = event.data;
};
setInterval(refresh, 60000); // ages go on even when nothing happens
