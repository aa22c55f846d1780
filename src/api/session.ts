/** /v1/sessions */
import type { FastifyInstance } from 'fastify';
import { SessionList, SessionPath, SessionQuery, SessionsDropped } from '../contract/session.ts';
import type { SessionControl } from '../control/session-control.ts';

export function installSessionRoutes(app: FastifyInstance, sessions: SessionControl): void {
  app.get<{ Querystring: SessionQuery }>(
    '/v1/sessions',
    { schema: { querystring: SessionQuery, response: { 200: SessionList } } },
    async (request) => ({ sessions: await sessions.sessionList(request.query.host) }),
  );
  app.delete<{ Params: SessionPath }>(
    '/v1/sessions/:id',
    { schema: { params: SessionPath, response: { 200: SessionsDropped } } },
    async (request) => {
      await sessions.sessionDrop(Number(request.params.id));
      return { droppedCount: 1 };
    },
  );
}
