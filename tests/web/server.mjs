// Serves some folders on this machine, as { "/path": folder }, also of single files, and an empty page at "/". isolated: from other origins,
// so that the page may have threads. For tests and benchmarks.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".css": "text/css" };

export async function serve(folders, { isolated }) {
  const server = createServer(async ({ url }, response) => {
    const headers = { "Content-Type": TYPES[extname(url)] ?? "application/octet-stream" };
    if (isolated) {
      headers["Cross-Origin-Opener-Policy"] = "same-origin";
      headers["Cross-Origin-Embedder-Policy"] = "require-corp";
    }
    if (url === "/") {
      response.writeHead(200, { ...headers, "Content-Type": "text/html" }).end("<!doctype html><title>evsam</title>");
      return;
    }
    const root = Object.keys(folders).find((path) => url === path || url.startsWith(`${path}/`));
    try {
      if (root === undefined) throw new Error("no such folder");
      const content = await readFile(folders[root] + (url === root ? "" : normalize(url.slice(root.length))));
      response.writeHead(200, headers).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
