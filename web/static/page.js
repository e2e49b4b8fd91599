// Keys and the timers of the pages on which people judge, write and attack. Everything works without this file, as plain forms.
"use strict";

const form = document.getElementById("judge");
const toggle = document.getElementById("keys-on");
const KEYS_OFF = "halter-keys-off";

// Time on the pair, without the time in which the page was not in sight.
const timer = { total: 0, since: document.hidden ? null : performance.now() };
document.addEventListener("visibilitychange", () => {
  if (document.hidden && timer.since !== null) {
    timer.total += performance.now() - timer.since;
    timer.since = null;
  } else if (!document.hidden && timer.since === null) {
    timer.since = performance.now();
  }
});

for (const timed of document.querySelectorAll("form:has([name=milliseconds])")) {
  timed.addEventListener("submit", () => {
    const spent = timer.total + (timer.since === null ? 0 : performance.now() - timer.since);
    timed.elements.namedItem("milliseconds").value = Math.round(spent);
  });
}

// A model takes its time: say so, and do not send the same prompt twice.
for (const ask of document.querySelectorAll("form.ask")) {
  ask.addEventListener("submit", (event) => {
    if (ask.dataset.sent) {
      event.preventDefault();
      return;
    }
    ask.dataset.sent = "1";
    const waiting = ask.querySelector(".waiting");
    waiting.textContent = waiting.dataset.text;
  });
}
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    document.querySelectorAll("form.ask").forEach((ask) => delete ask.dataset.sent);
  }
});

if (form) {
  form.addEventListener("change", () => {
    const now = form.querySelector(".now");
    const labels = [...form.querySelectorAll("input[type=radio]:checked")].map((radio) => radio.dataset.label);
    now.textContent = labels.length ? now.dataset.template.replace("{verdict}", labels.join("; ")) : "";
  });
}

for (const element of document.querySelectorAll(".js-only")) {
  element.classList.remove("js-only");
}

// Single keys can be switched off: they get in the way of speech input.
function keysOn() {
  return !toggle || toggle.checked;
}
if (toggle) {
  toggle.checked = localStorage.getItem(KEYS_OFF) === null;
  const mark = () => document.body.classList.toggle("keys-off", !toggle.checked);
  mark();
  toggle.addEventListener("change", () => {
    mark();
    if (toggle.checked) {
      localStorage.removeItem(KEYS_OFF);
    } else {
      localStorage.setItem(KEYS_OFF, "1");
    }
  });
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const typing = target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && target.closest("form.ask textarea")) {
    event.preventDefault();
    target.form.requestSubmit();
    return;
  }
  if (event.key === "Enter" && target.closest("#judge select")) {
    event.preventDefault();
    form.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || typing || !keysOn()) {
    return;
  }
  // The place of the key counts, not its letter, so that it is the same under a Korean keyboard.
  const key = event.code.replace(/^(Key|Digit|Numpad)/, "");
  if (key === "Enter") {
    if (form && !target.closest("button, a, summary, input")) {
      event.preventDefault();
      form.requestSubmit();
    }
    return;
  }
  const element = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const panel = document.getElementById({ G: "guidelines", F: "flag" }[key] ?? "");
  if (element) {
    event.preventDefault();
    element.focus();
    element.click();
  } else if (panel) {
    event.preventDefault();
    panel.open = !panel.open;
    (panel.open && panel.querySelector("textarea") || panel.querySelector("summary")).focus();
  }
});
