// Calls of /api/v1 and of our own pages. A call that fails says so: nothing is silently lost.
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail || code);
    this.status = status; // 0: no answer at all
    this.code = code;
  }
}

const csrf = document.querySelector('meta[name="csrf"]').content;

export async function call(method, path, body, { timeout = 8000 } = {}) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
  } catch (error) {
    throw new Problem(0, "no_answer", error.message);
  }
  const type = answer.headers.get("content-type") || "";
  const found = type.includes("json") ? await answer.json() : null;
  if (answer.status === 401 && found?.code === "not_signed_in") document.dispatchEvent(new Event("signed-out"));
  if (!answer.ok) throw new Problem(answer.status, found?.code ?? `http_${answer.status}`, found?.detail ?? "");
  return found;
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
