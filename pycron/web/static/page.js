// What the page does with scripts: it refreshes itself, follows output, and knows keys.
// Without scripts everything can still be read, and every action works.
"use strict";

const MOST_SHOWN = 500_000; // characters of an output that grows, in the page
const GO = { n: "/", j: "/jobs", r: "/runs", d: "/day", f: "/failures" };

const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];

// ---- the zone of this browser, which the server cannot know

function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  const known = document.cookie.split("; ").includes(`zone=${zone}`);
  if (!zone || known || !/^[A-Za-z0-9_+/-]{1,64}$/.test(zone)) return;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `zone=${zone}; path=/; max-age=31622400; SameSite=Strict${secure}`;
  if (document.cookie.includes(`zone=${zone}`) && one(".preferences")) location.reload();
}

// ---- parts of the page that change

let refreshing = false;

async function refresh() {
  if (refreshing || document.hidden) return;
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Refresh": "1" }, cache: "no-store" });
    if (answer.redirected) return location.reload();
    if (answer.ok) replaceLive(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The page is being restarted: the next refresh asks again.
  } finally {
    refreshing = false;
  }
}

function replaceLive(fresh) {
  const focused = document.activeElement?.getAttribute?.("href");
  for (const part of all("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const hadFocus = part.contains(document.activeElement);
    part.replaceWith(other);
    if (hadFocus && focused) {
      const again = [...other.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
      if (again) choose(again);
    }
  }
}

function keepFresh() {
  const seconds = () => Number(one("[data-refresh]")?.dataset.refresh || 0);
  const again = async () => {
    if (!seconds()) return;
    await refresh();
    setTimeout(again, 1000 * seconds());
  };
  if (seconds()) setTimeout(again, 1000 * seconds());
}

// ---- output that grows

function follow(pre) {
  const place = new URL(pre.dataset.stream, location.href);
  const state = one("[data-stream-state]");
  let source = null;
  let shown = pre.textContent.length;

  const say = (text) => { if (state) state.textContent = text; };

  function add(node, length) {
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    pre.append(node);
    shown += length;
    while (shown > MOST_SHOWN && pre.childNodes.length > 1) {
      shown -= pre.firstChild.textContent.length;
      pre.firstChild.remove();
      pre.dataset.cut = "1";
    }
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  }

  function note(text) {
    const line = document.createElement("span");
    line.className = "note";
    line.textContent = text;
    add(line, text.length);
  }

  function output(event) {
    const block = document.createElement("span");
    let length = 0;
    for (const [classes, text] of JSON.parse(event.data)) {
      const part = document.createElement("span");
      if (classes) part.className = classes;
      part.textContent = text;
      block.append(part);
      length += text.length;
    }
    if (length) add(block, length);
  }

  function begin() {
    source = new EventSource(place);
    say("Live: new output appears as it comes.");
    const on = (kind, act) => source.addEventListener(kind, (event) => {
      const [attempt, offset] = event.lastEventId.split(".");
      place.searchParams.set("attempt", attempt);
      place.searchParams.set("offset", offset);
      act(event);
    });
    on("output", output);
    on("skipped", (event) => note(`… ${JSON.parse(event.data).toLocaleString("en")} bytes are left out here; the download has them`));
    on("ended", () => refresh());
    on("attempt", (event) => {
      note(`attempt ${JSON.parse(event.data)}`);
      const number = one("[data-attempt]");
      if (number) number.textContent = JSON.parse(event.data);
      say("It waits for its next attempt.");
    });
    on("over", () => { end(); say(pre.dataset.cut ? "It has ended. The download has the whole output." : "It has ended."); refresh(); });
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) say("The live view is not available now: reload the page for more.");
    };
  }

  function end() {
    source?.close();
    source = null;
    document.removeEventListener("visibilitychange", onVisibility);
  }

  // A page that nobody sees takes none of the server's streams.
  function onVisibility() {
    if (document.hidden) { source?.close(); source = null; } else if (!source) begin();
  }

  document.addEventListener("visibilitychange", onVisibility);
  if (!document.hidden) begin();
  pre.scrollTop = pre.scrollHeight;
}

// ---- keys

function choose(link) {
  all("tr.chosen").forEach((row) => row.classList.remove("chosen"));
  link.closest("tr")?.classList.add("chosen");
  link.focus({ preventScroll: true });
  link.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const links = all("main a.open");
  if (!links.length) return;
  const row = document.activeElement?.closest?.("tr");
  const at = links.findIndex((link) => link === document.activeElement || (row && link.closest("tr") === row));
  choose(links[Math.min(links.length - 1, Math.max(0, at + step))]);
}

let going = false;

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && typing) return typing.blur();
  if (typing || one("dialog[open]")) return;
  if (going) {
    going = false;
    if (GO[event.key]) location.assign(GO[event.key]);
    return;
  }
  const acts = {
    "/": () => one("[data-find]")?.select(),
    "j": () => move(1),
    "k": () => move(-1),
    "?": () => one("#keys")?.showModal(),
    "g": () => { going = true; setTimeout(() => { going = false; }, 1500); },
  };
  if (!acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
}

// ---- begin

all("[data-with-script]").forEach((each) => { each.hidden = false; });
all("[data-without-script]").forEach((each) => { each.hidden = true; });
all("[data-submit-at-once] select").forEach((each) => each.addEventListener("change", () => each.form.submit()));
one("[data-keys]")?.addEventListener("click", () => one("#keys").showModal());
document.addEventListener("keydown", onKey);
tellZone();
keepFresh();
all("pre[data-stream]").forEach(follow);
