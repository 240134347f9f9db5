// Builds the page into evsam/serve/page, from where `evsam serve` serves it, or with `--mode static` into page/dist, a
// folder for any host. The engine is not bundled: it is the npm package as csrc/wasm builds it, copied beside the page.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join, relative, resolve } from "node:path";
import preact from "@preact/preset-vite";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const ROOT = resolve(import.meta.dirname, "..");
const ENGINE = join(ROOT, "build/wasm/package");
const WEIGHTS = join(ROOT, "evsam/data/nano.safetensors");
const ENGINE_FILES = /^(index\.js|engine\.js|worker\.js|wasm\/.*\.(js|wasm))$/;
const TYPES: Record<string, string> = { ".js": "text/javascript", ".wasm": "application/wasm" };

/** What the built files are made of, as tests/serve/test_page.py lists it too. C++ is not: it is built on its own. */
const SOURCES = [
  "page/index.html",
  "page/package-lock.json",
  "page/vite.config.ts",
  "page/src",
  "page/public",
  "csrc/wasm/package",
];

function files(path: string): string[] {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .flatMap((name) => files(join(path, name)))
    .filter((name) => !name.includes(".test."));
}

function digest(): string {
  const lines = SOURCES.flatMap((source) => files(join(ROOT, source))).map((path) => {
    const content = createHash("sha256").update(readFileSync(path)).digest("hex");
    return `${relative(ROOT, path)} ${content}\n`;
  });
  return createHash("sha256").update(lines.sort().join("")).digest("hex");
}

/** The engine and nano's weights: beside the built page, and under the same paths while developing. */
function engine(weights: boolean): Plugin {
  let folder = "";
  let building = false; // and not testing, which closes a bundle too
  return {
    name: "evsam-engine",
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir);
      building = config.command === "build";
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = (request.url ?? "").split("?")[0]!;
        const file = path === "/nano.safetensors" ? WEIGHTS : path.startsWith("/evsam/") ? ENGINE + path.slice(6) : "";
        if (!file || !existsSync(file)) return next();
        response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
        response.end(readFileSync(file));
      });
    },
    closeBundle() {
      if (!building) return;
      if (!existsSync(join(ENGINE, "wasm/evsam.wasm"))) {
        throw new Error(`${ENGINE}: expected the built npm package (docs/web.md), got none`);
      }
      for (const path of files(ENGINE)) {
        const name = relative(ENGINE, path);
        if (!ENGINE_FILES.test(name)) continue;
        mkdirSync(dirname(join(folder, "evsam", name)), { recursive: true });
        writeFileSync(join(folder, "evsam", name), readFileSync(path));
      }
      if (weights) cpSync(WEIGHTS, join(folder, "nano.safetensors"));
      writeFileSync(join(folder, "sources.sha256"), `${digest()}\n`);
    },
  };
}

export default defineConfig(({ mode }) => ({
  base: "./",
  plugins: [preact(), engine(mode === "static")],
  build: {
    outDir: mode === "static" ? "dist" : "../evsam/serve/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy allows no inline scripts
  },
  server: {
    headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" },
    proxy: { "/v1": "http://127.0.0.1:8000" },
  },
  test: { include: ["src/**/*.test.ts", "test/**/*.test.ts"] },
}));
