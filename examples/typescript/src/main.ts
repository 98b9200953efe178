// The whole life of a task, against the service at the address that is given: node dist/main.js http://127.0.0.1:8000
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Refused, success, tag, todo, type Account, type Task } from "./client.js";

function line(task: Task): string {
  const state = task.completed ? "done" : "open";
  return `${task.title} (${task.description ?? "no description"}), ${state}, changed at ${task.updated_at}`;
}

async function account(url: string): Promise<Account> {
  const body = { email: `${randomUUID()}@example.com`, password: "correct horse battery" };
  const signedUp = await success(todo(url).POST("/api/auth/signup", { body }));
  const loggedIn = await success(todo(url).POST("/api/auth/login", { body }));
  assert.equal(loggedIn.user.id, signedUp.user.id);
  assert.equal(loggedIn.user.email, body.email);
  await assert.rejects(success(todo(url).POST("/api/auth/signup", { body })), refused(409, "Email already registered"));
  return loggedIn;
}

function refused(status: number, sentence: string): (error: unknown) => boolean {
  return (error) => error instanceof Refused && error.status === status && error.message === sentence;
}

async function main(url: string): Promise<void> {
  await assert.rejects(success(todo(url).GET("/api/tasks")), refused(401, "Unauthorized"));
  const { token, user } = await account(url);
  const api = todo(url, token);
  await assert.rejects(success(api.POST("/api/tasks", { body: { title: " " } })), refused(400, "Title is required"));

  // With a key of its own the create may be sent again, for example where its answer was lost: there is one task.
  const create = { params: { header: { "Idempotency-Key": randomUUID() } }, body: { title: "Buy milk", description: "two litres" } };
  const { task } = await success(api.POST("/api/tasks", create));
  assert.deepEqual(await success(api.POST("/api/tasks", create)), { task });
  assert.equal(task.user_id, user.id);
  assert.equal(task.created_at, task.updated_at);
  console.log(line(task));

  const params = { path: { id: task.id } };
  const seen = { ...params, header: { "If-Match": tag(task) } };
  const body = { title: "Buy oats", description: null };
  const edited = await success(api.PUT("/api/tasks/{id}", { params: seen, body }));
  console.log(line(edited.task));
  const stale = api.PUT("/api/tasks/{id}", { params: seen, body });
  await assert.rejects(success(stale), refused(412, "The task was changed in the meantime"));
  const toggled = await success(api.PUT("/api/tasks/{id}", { params, body: { completed: true } }));
  console.log(line(toggled.task));

  assert.deepEqual(await success(api.GET("/api/tasks/{id}", { params })), toggled);
  assert.deepEqual((await success(api.GET("/api/tasks"))).tasks, [toggled.task]);

  await success(api.DELETE("/api/tasks/{id}", { params }));
  await assert.rejects(success(api.GET("/api/tasks/{id}", { params })), refused(404, "Task not found"));
  console.log("deleted");
}

await main(process.argv[2] ?? "http://127.0.0.1:8000");
