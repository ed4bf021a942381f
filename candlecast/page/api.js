// Requests to this server's API: they read every page of an answer and send the token where one is needed.

const TOKEN = "candlecast-token";

const NO_DATA = "The answer is another page instead of data, such as the login of a proxy in between. " +
  "Open this page in a new tab, sign in there, and reload.";

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);
export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

/** Return the rows of a collection, all of them or `most`; raises ApiError with the server's own reason. */
export async function rows(collection, query = {}, most = Infinity) {
  const collected = [];
  let cursor = null;
  do {
    const given = Object.entries({ ...query, cursor }).filter(([, value]) => value !== null);
    const answer = await ask(`api/v1/${collection}?${new URLSearchParams(given)}`);
    collected.push(...answer.rows);
    cursor = answer.next;
  } while (cursor !== null && collected.length < most);
  return collected;
}

async function ask(url) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  const answer = await fetch(url, { headers }).catch(() => {
    throw new ApiError(0, "The server does not answer: is candlecast web still running?");
  });
  if (!(answer.headers.get("Content-Type") ?? "").includes("json")) throw new ApiError(0, NO_DATA);
  const body = await answer.json();
  if (!answer.ok) throw new ApiError(answer.status, body.detail);
  return body;
}
