// Makes the component: node build.mjs
import { mkdir, readFile, writeFile } from "node:fs/promises";

import { componentize } from "componentize-qjs";

/** componentize-qjs puts a component of stubs beside the one with the engine; podwire takes single ones. */
function engineOf(composed) {
  let at = 8; // after the magic number and the version
  while (at < composed.length) {
    const id = composed[at];
    const [size, begin] = leb128(composed, at + 1);
    if (id === 4) return composed.subarray(begin, begin + size); // the first component inside
    at = begin + size;
  }
  throw new Error("componentize-qjs made no component within the component");
}

function leb128(bytes, at) {
  for (let value = 0, scale = 1; ; scale *= 128) {
    const byte = bytes[at++];
    value += (byte & 127) * scale;
    if (byte < 128) return [value, at];
  }
}

const { component } = await componentize({
  witPath: "../../wit/policy.wit",
  jsPath: "component.js",
  jsSource: await readFile("component.js", "utf8"),
  sync: true,
});
await mkdir("build", { recursive: true });
await writeFile("build/by-namespace.wasm", engineOf(component));
