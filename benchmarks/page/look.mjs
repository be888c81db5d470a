// A report as people see it: screenshots (desktop, phone, dark, print), console errors, requests, axe-core.
// What is printed is made before the details are opened, as a reader prints; the width is measured after.
//
//   cd benchmarks/page && npm install && node look.mjs PAGE.html OUT [path of chromium]
import fs from 'node:fs';
import path from 'node:path';
import puppeteer from 'puppeteer-core';

const [page_, out, chromium = '/usr/bin/chromium'] = process.argv.slice(2);
fs.mkdirSync(out, { recursive: true });
const address = 'file://' + path.resolve(page_);
const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox'] });
const axe = fs.readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const views = {
  desktop: { width: 1280, height: 900 },
  dark: { width: 1280, height: 900, scheme: 'dark' },
  phone: { width: 390, height: 844, isMobile: true, deviceScaleFactor: 2 },
  paper: { width: 704, height: 1032, media: 'print' },
};
let faults = 0;
for (const [name, { scheme = 'light', media = 'screen', ...viewport }] of Object.entries(views)) {
  const page = await browser.newPage();
  const said = [], asked = [];
  page.on('console', (message) => ['error', 'warn'].includes(message.type()) && said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  page.on('request', (request) => request.url() !== address && !request.url().startsWith('data:') && asked.push(request.url()));
  await page.setViewport(viewport);
  if (media === 'print') await page.emulateMediaType(media); // either call undoes the other
  else await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.goto(address);
  await page.screenshot({ path: `${out}/${name}.png` });
  await page.screenshot({ path: `${out}/${name}-whole.png`, fullPage: true });
  if (name === 'paper') await page.pdf({ path: `${out}/print.pdf`, format: 'A4' });
  await page.evaluate(() => document.querySelectorAll('details').forEach((one) => (one.open = true)));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  await page.screenshot({ path: `${out}/${name}-open.png`, fullPage: true });
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run());
  const violations = found.violations.map((one) => `${one.id} (${one.impact}): ${one.nodes.length} × ${one.nodes[0].html.slice(0, 120)}`);
  console.log(`${name}: ${said.length} console errors, ${asked.length} requests, ${wide > 0 ? `${wide} px too wide` : 'fits'}, axe-core: ${violations.length} violations of ${found.passes.length + violations.length} rules`);
  for (const line of [...said, ...asked, ...violations]) console.log('  ' + line);
  faults += said.length + asked.length + violations.length + (wide > 0);
  await page.close();
}
await browser.close();
process.exit(faults ? 1 : 0);
