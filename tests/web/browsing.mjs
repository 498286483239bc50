// Opens a page in Chromium and does what a list of steps says: a JSON document on stdin, one on stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../servers/node/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const { url, profile, program, script = true, width = 1000, dark = false, args = [], steps = [] } = JSON.parse(readFileSync(0, "utf-8"));
const QUIET = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check",
];
// Milliseconds that a loaded machine may take for one step. Every step waits for what it needs, never for a time.
const PATIENCE = 240000;

const context = await chromium.launchPersistentContext(profile, {
  executablePath: program,
  args: [...QUIET, ...args],
  javaScriptEnabled: script,
  viewport: { width, height: 900 },
  colorScheme: dark ? "dark" : "light",
  reducedMotion: "reduce",
  timeout: PATIENCE,
});
context.setDefaultTimeout(PATIENCE);
const page = await context.newPage();
const problems = [];
const requests = [];
page.on("console", (message) => message.type() === "error" && problems.push({ text: message.text(), url: message.location().url }));
page.on("pageerror", (error) => problems.push({ text: String(error), url: "" }));
context.on("request", (request) => requests.push(`${request.method()} ${request.url()}`));

const ready = () => page.waitForSelector("body[data-ready]");

const verbs = {
  async give({ files }) {
    const before = await page.locator("#said").textContent();
    await page.setInputFiles("#files", files);
    await page.waitForFunction((text) => document.getElementById("said").textContent !== text, before);
  },
  async drop({ files }) {
    const data = files.map(({ name, type, body }) => ({ name, type, body }));
    await page.evaluate((given) => {
      const transfer = new DataTransfer();
      for (const { name, type, body } of given) {
        transfer.items.add(new File([Uint8Array.from(atob(body), (each) => each.charCodeAt(0))], name, { type }));
      }
      document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }, data);
  },
  async waitFor({ selector }) {
    await page.waitForSelector(selector);
  },
  async click({ selector }) {
    await page.click(selector);
  },
  async press({ key }) {
    await page.keyboard.press(key);
  },
  async shoot({ path }) {
    await page.screenshot({ path, fullPage: true });
  },
  async cards() {
    return page.$$eval(".cards .card", (cards) =>
      cards.map((card) => ({
        state: card.dataset.state,
        given: card.dataset.given ?? null,
        title: card.querySelector('[data-part="title"]').textContent,
        summary: card.querySelector('[data-part="summary"]').textContent,
        by: card.querySelector('[data-part="by"]').textContent,
        picture: card.querySelector("figure").hidden ? null : card.querySelector("img").naturalWidth,
        facts: [...card.querySelectorAll('[data-part="facts"] div')].map((each) => [...each.children].map((part) => part.textContent)),
        checks: [...card.querySelectorAll(".checks li")].map((each) => [each.dataset.mark, each.lastElementChild.textContent]),
        claims: card.querySelector('[data-part="claims"]').hidden ? null : card.querySelector("pre").textContent,
        history: card.querySelector('[data-part="manifest"]').hidden ? null : card.querySelector('[data-part="history"]').innerText,
        colour: getComputedStyle(card).borderTopColor,
      })),
    );
  },
  async text({ selector }) {
    return page.locator(selector).innerText();
  },
  async overflow() {
    return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  },
  async focused() {
    return page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName);
  },
  async axe() {
    // By the tools' own connection, which no policy of the page stops.
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" | ")}`);
  },
};

const results = [];
const response = await page.goto(url);
if (script) {
  await ready();
}
for (const { verb, ...step } of steps) {
  results.push((await verbs[verb](step)) ?? null);
}
await context.close();
process.stdout.write(JSON.stringify({ status: response.status(), headers: response.headers(), results, problems, requests }));
