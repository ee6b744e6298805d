// Opens a report in Chromium, light and dark, narrow and wide, and prints what is wrong with it as JSON.
// usage: node look_at_report.mjs FILE CHROMIUM [SCREENSHOTS]; needs playwright-core, which does not bring a browser.

import { createRequire } from "node:module";

const { chromium } = createRequire(process.cwd() + "/")("playwright-core");
const [, , file, executablePath, screenshots] = process.argv;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const found = [];
for (const colorScheme of ["light", "dark"]) {
  for (const width of [800, 1440]) {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    const said = [];
    const asked = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    page.on("request", (request) => asked.push(request.url()));
    await page.goto("file://" + file);
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    // Text that begins left of its picture is cut off.
    const cut = await page.evaluate(() =>
      [...document.querySelectorAll("svg text")]
        .filter((text) => {
          const [inner, outer] = [text, text.ownerSVGElement].map((element) => element.getBoundingClientRect());
          return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
        })
        .map((text) => text.textContent),
    );
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const unnamed = await page.locator("figure > svg:not([aria-label])").count();
    const pictures = await page.locator("figure > svg").count();
    found.push({ colorScheme, width, said, asked: asked.length, overflow, cut, ground, unnamed, pictures });
    if (screenshots) await page.screenshot({ path: `${screenshots}-${colorScheme}-${width}.png`, fullPage: true });
  }
}
await browser.close();
console.log(JSON.stringify(found));
