// Requests to the server. Errors have the server's line as their message.

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "omit", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is moeisr web still running?", 0);
  }
  if (answer.ok) return answer;
  const fallback = `The server answered with status ${answer.status}.`;
  const line = await answer.json().then((found) => found.error || fallback, () => fallback);
  throw new ServerError(line, answer.status);
}

const json = (path, options) => ask(path, options).then((answer) => answer.json());

function send(method, path, content, signal) {
  return json(path, {
    method,
    signal,
    body: content === undefined ? undefined : JSON.stringify(content),
    headers: content === undefined ? {} : { "content-type": "application/json" },
  });
}

const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));

// A picture of the server as a bitmap, with the facts of its header. Null if a newer request replaced it.
async function bitmap(path, signal) {
  const answer = await ask(path, { signal });
  if (answer.status === 204) return null;
  const facts = JSON.parse(answer.headers.get("x-facts") || "{}");
  return { image: await createImageBitmap(await answer.blob(), { premultiplyAlpha: "premultiply" }), facts };
}

const of = (key) => `/api/pictures/${encodeURIComponent(key)}`;

export const server = {
  start: () => json("/api/start"),
  upload: (file, signal) =>
    json(`/api/pictures?${query({ name: file.name || "pasted.png" })}`, {
      method: "POST",
      body: file,
      signal,
      headers: { "content-type": "application/octet-stream" },
    }),
  openSample: (name) => send("POST", `/api/samples/${encodeURIComponent(name)}`),
  thumbnail: (name) => `/api/samples/${encodeURIComponent(name)}`,
  forget: (key) => send("DELETE", of(key)),
  preview: (key) => bitmap(`${of(key)}/preview`),
  encode: (key, network, precision) => send("POST", `${of(key)}/encoding`, { network, precision }),
  encoding: (key, network, precision) => json(`${of(key)}/encoding?${query({ network, precision })}`),
  plain: (key, values, signal) => bitmap(`${of(key)}/plain?${query(values)}`, signal),
  view: (key, values, signal) => bitmap(`${of(key)}/view?${query(values)}`, signal),
  cost: (key, values, signal) => json(`${of(key)}/cost?${query(values)}`, { signal }),
  map: (key, values, signal) => bitmap(`${of(key)}/map?${query(values)}`, signal),
  makeFile: (key, wanted) => send("POST", `${of(key)}/files`, wanted),
  file: (key) => json(`/api/files/${encodeURIComponent(key)}`),
  removeFile: (key) => send("DELETE", `/api/files/${encodeURIComponent(key)}`),
  content: (key) => `/api/files/${encodeURIComponent(key)}/content`,
};
