// Builds the explorer: one HTML file that loads nothing. `npm ci && npm run build` in this folder
// writes ../src/faltung/explore/explorer.html, and ../docs/_static/charts.js for the results pages.
// Both are kept in the repository, so that nobody who installs Faltung needs Node.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const out = new URL("../src/faltung/explore/explorer.html", here);
const charts = new URL("../docs/_static/charts.js", here);

// What the page is made from: its digest stands in the page, and a test compares it.
function sources(folder = new URL("src/", here)) {
  const found = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? sources(new URL(`${entry.name}/`, folder)) : [new URL(entry.name, folder)],
  );
  return found.sort((a, b) => (a.href < b.href ? -1 : 1));
}

function digest() {
  const hash = createHash("sha256");
  const names = ["build.mjs", "package-lock.json", "template.html"].map((n) => new URL(n, here));
  for (const file of [...names, ...sources()]) {
    hash.update(file.href.slice(here.href.length) + "\n");
    hash.update(readFileSync(file));
  }
  return hash.digest("hex");
}

async function bundled(entry) {
  const { outputFiles } = await build({
    entryPoints: [new URL(entry, here).pathname],
    bundle: true,
    minify: !process.env.PLAIN,
    write: false,
    format: "iife",
    target: ["es2022", "safari16"],
    jsx: "automatic",
    jsxImportSource: "preact",
    charset: "utf8",
    legalComments: "inline",
    loader: { ".css": "css" },
  });
  return outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
}

const page = readFileSync(new URL("template.html", here), "utf8")
  .replace("{{sources}}", () => digest())
  .replace("{{style}}", await bundled("src/style.css").then((text) => () => text))
  .replace("{{geometry}}", await bundled("src/hook.ts").then((text) => () => text))
  .replace("{{script}}", await bundled("src/main.tsx").then((text) => () => text));
writeFileSync(out, page);
writeFileSync(charts, `// ${digest()}\n${await bundled("src/charts.tsx")}\n`);
console.log(`${out.pathname}: ${(Buffer.byteLength(page) / 1000).toFixed(0)} kB`);
