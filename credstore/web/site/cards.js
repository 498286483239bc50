// Puts reports on the page. Everything in a proof is a stranger's text: it becomes text nodes and nothing else.
import { shownClaims } from "./report.js";

function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function part(card, name) {
  return card.querySelector(`[data-part="${name}"]`);
}

/** A card for a report; `by` says whose check it is, `picture` is a URL of this page, or null. */
export function makeCard(words, report, { by, picture = null, heading = null }) {
  const card = copyOf("card");
  card.dataset.state = report.state;
  part(card, "title").textContent = heading === null ? report.title : `${heading}: ${report.title}`;
  part(card, "summary").textContent = report.summary;
  part(card, "by").textContent = by;
  part(card, "facts").replaceChildren(...report.facts.map(makeFact));
  part(card, "checks").replaceChildren(...report.checks.map((each) => makeCheck(words, ...each)));
  if (picture !== null) {
    part(card, "picture").hidden = false;
    part(card, "picture").querySelector("img").src = picture;
  }
  if (report.record?.claims) {
    part(card, "claims").hidden = false;
    part(card, "claims").querySelector("pre").textContent = shownClaims(report.record.claims);
  }
  return card;
}

export function makeFact([name, value]) {
  const fact = copyOf("fact");
  fact.querySelector("dt").textContent = name;
  fact.querySelector("dd").textContent = value;
  return fact;
}

function makeCheck(words, mark, text) {
  const check = copyOf("check");
  check.dataset.mark = mark;
  const [word, said] = check.querySelectorAll("span");
  word.textContent = `${words.marks[mark]}: `;
  said.textContent = text;
  return check;
}

/** Shows under a card what the file itself carries. */
export function showHistory(card, blocks) {
  const section = part(card, "manifest");
  section.hidden = false;
  part(card, "history").replaceChildren(
    ...blocks.map(({ title, rows }) => {
      const list = document.createElement("dl");
      list.append(...rows.map(makeFact));
      const block = document.createElement("div");
      if (title !== "") {
        const name = document.createElement("h4");
        name.textContent = title;
        block.append(name);
      }
      block.append(list);
      return block;
    }),
  );
}
