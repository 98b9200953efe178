// Fastify 5, postgres.js and fast-jwt, one process per worker: schemas in and out, the verified tokens cached.

import cluster from 'node:cluster'
import { randomUUID } from 'node:crypto'
import cors from '@fastify/cors'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import postgres from 'postgres'

const { BETTER_AUTH_SECRET, DATABASE_URL, FRONTEND_URL, HOST, POOL_SIZE, PORT, WORKERS } = process.env

const nullableText = { type: ['string', 'null'], maxLength: 1000 }
const task = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    title: { type: 'string' },
    description: { type: ['string', 'null'] },
    completed: { type: 'boolean' },
    user_id: { type: 'string' },
    created_at: { type: 'string', format: 'date-time' },
    updated_at: { type: 'string', format: 'date-time' }
  }
}
const oneTask = { type: 'object', properties: { task } }
const manyTasks = { type: 'object', properties: { tasks: { type: 'array', items: task } } }
const title = { type: 'string', minLength: 1, maxLength: 255 }
const params = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }
const createBody = { type: 'object', required: ['title'], properties: { title, description: nullableText } }
const updateBody = {
  type: 'object',
  properties: { title, description: nullableText, completed: { type: 'boolean' } }
}

async function serve () {
  const sql = postgres(DATABASE_URL, { max: Number(POOL_SIZE) })
  const verify = createVerifier({
    key: BETTER_AUTH_SECRET,
    algorithms: ['HS256'],
    requiredClaims: ['exp'],
    cache: 10000,
    // By default the cache hashes each token to find it, which takes longer than to verify it: half the lists a second.
    cacheKeyBuilder: (token) => token
  })
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false } } })

  await app.register(cors, {
    origin: FRONTEND_URL.split(','),
    methods: ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'],
    allowedHeaders: ['Authorization', 'Content-Type']
  })

  // The frontend sends a JSON content type with a DELETE that has no body: Fastify's own parser refuses that.
  const parseJson = app.getDefaultJsonParser('error', 'ignore')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parseJson(request, body, done)
  })

  app.setErrorHandler((error, request, reply) => {
    const status = error.validation?.[0].instancePath === '/id' ? 404 : error.statusCode ?? 500
    reply.code(status).send({ error: status === 500 ? 'Internal server error' : error.message })
  })

  app.decorateRequest('userId', null)
  app.addHook('onRequest', async (request, reply) => {
    try {
      request.userId = verify(request.headers.authorization.slice('Bearer '.length)).user_id
    } catch {
      return reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'Unauthorized' })
    }
  })

  const answer = (reply, rows) => {
    if (rows.length === 0) return reply.code(404).send({ error: 'Task not found' })
    return { task: rows[0] }
  }

  app.get('/api/tasks', { schema: { response: { 200: manyTasks } } }, async (request) => {
    const tasks = await sql`
      select id, title, description, completed, user_id, created_at, updated_at
      from tasks where user_id = ${request.userId} order by created_at desc, id desc`
    return { tasks }
  })

  app.post('/api/tasks', { schema: { body: createBody, response: { 201: oneTask } } }, async (request, reply) => {
    const { title, description = null } = request.body
    const rows = await sql`
      insert into tasks (id, user_id, title, description)
      values (${randomUUID()}, ${request.userId}, ${title}, ${description})
      returning id, title, description, completed, user_id, created_at, updated_at`
    reply.code(201)
    return answer(reply, rows)
  })

  app.get('/api/tasks/:id', { schema: { params, response: { 200: oneTask } } }, async (request, reply) =>
    answer(reply, await sql`
      select id, title, description, completed, user_id, created_at, updated_at
      from tasks where user_id = ${request.userId} and id = ${request.params.id}`))

  app.put('/api/tasks/:id', { schema: { params, body: updateBody, response: { 200: oneTask } } },
    async (request, reply) => {
      const { title = null, completed = null, description = null } = request.body
      return answer(reply, await sql`
        update tasks set title = coalesce(${title}, title), completed = coalesce(${completed}, completed),
          description = case when ${'description' in request.body} then ${description} else description end,
          updated_at = now()
        where user_id = ${request.userId} and id = ${request.params.id}
        returning id, title, description, completed, user_id, created_at, updated_at`)
    })

  app.delete('/api/tasks/:id', { schema: { params } }, async (request, reply) => {
    const gone = await sql`delete from tasks where user_id = ${request.userId} and id = ${request.params.id}`
    if (gone.count === 0) return reply.code(404).send({ error: 'Task not found' })
    return reply.code(204).send()
  })

  await app.listen({ host: HOST, port: Number(PORT) })
}

if (cluster.isPrimary) {
  for (let worker = 0; worker < Number(WORKERS); worker++) cluster.fork()
} else {
  await serve()
}
