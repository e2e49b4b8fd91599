// Shows the answers of a chat as they come. Everything works without this file, as plain forms, once all is said.
"use strict";

const dialogue = document.querySelector(".chat");
const names = JSON.parse(dialogue.dataset.names);

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text; // never markup: models and people wrote it
  return made;
}

function answerBox(pair, side) {
  const box = element("article", "response", "");
  box.append(element("h3", "", names[side] ?? names[0]), element("div", "text", ""));
  box.lastChild.dir = "auto";
  pair.append(box);
  return box.lastChild;
}

async function speak(form) {
  const waiting = document.querySelector("#say .waiting");
  const prompt = form.elements.namedItem("prompt");
  const body = new URLSearchParams(new FormData(form));
  let pair = dialogue.querySelector(".pair:last-of-type");
  if (prompt) {
    const turn = element("div", "turn user", "");
    turn.append(element("div", "text", prompt.value));
    pair = element("div", names.length > 1 ? "pair" : "pair single", "");
    dialogue.append(turn, pair);
  } else {
    pair = [...dialogue.querySelectorAll(".pair")].at(-1);
    pair.classList.remove("single");
  }
  waiting.textContent = waiting.dataset.text;
  const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/x-ndjson" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const boxes = {};
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const told = JSON.parse(line);
      if (told.problem) {
        waiting.textContent = told.problem;
        waiting.classList.add("problem");
        return;
      }
      boxes[told.side] ??= answerBox(pair, told.side);
      boxes[told.side].textContent = told.text;
    }
  }
  location.assign("/");
}

for (const form of document.querySelectorAll("form.speaks")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.sent) {
      return;
    }
    document.querySelectorAll("form.speaks").forEach((each) => (each.dataset.sent = "1"));
    const unsent = () => document.querySelectorAll("form.speaks").forEach((each) => delete each.dataset.sent);
    speak(form).then(unsent, unsent);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#say textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});
document.getElementById("prompt").scrollIntoView({ block: "nearest" });
