import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./api.js";

export type Account = components["schemas"]["Account"];
export type Task = components["schemas"]["Task"];

/** An answer that is no success; the message is the service's sentence for a person. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** A client of the service at `baseUrl`; with a token, as the user whose token it is. */
export function todo(baseUrl: string, token?: string): Client<paths> {
  return createClient<paths>({ baseUrl, headers: token ? { Authorization: `Bearer ${token}` } : {} });
}

/** The ETag of a version of a task, which If-Match takes. */
export function tag(task: Task): string {
  return `"${task.updated_at}"`;
}

type Answer<Data> = { data?: Data; error?: components["schemas"]["Error"]; response: Response };

/** The body of a success, undefined where it has none; throws Refused for everything else. */
export async function success<Data>(call: Promise<Answer<Data>>): Promise<Data> {
  const { data, error, response } = await call;
  if (error) throw new Refused(response.status, error.error);
  return data as Data;
}
