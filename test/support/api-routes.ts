/** The routes of the API, for tests that want to see each of them used. */
import type { FastifyInstance } from 'fastify';

/** "METHOD /path/:with" of every route. From fastify's own tree, which indents every level by four characters: "│   └── /:name (GET, DELETE)". */
export function routesOf(app: FastifyInstance): string[] {
  const found: string[] = [];
  const parents: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent, part, methods] = /^([^/\w]*)(\S+) \(([A-Z, ]+)\)$/.exec(line) ?? [];
    if (indent === undefined || part === undefined || methods === undefined) continue;
    parents.splice(indent.length / 4 - 1, Infinity, part);
    for (const method of methods.split(', ')) {
      if (method !== 'HEAD') found.push(`${method} ${parents.join('')}`);
    }
  }
  return found;
}
