/** /v1/volumes/NAME: moments, diff, changes, rate */
import type { FastifyInstance } from 'fastify';
import {
  Changes,
  ChangesQuery,
  Diff,
  DiffQuery,
  MomentOpen,
  Rate,
  RateQuery,
} from '../contract/history.ts';
import { MomentOpenOperation } from '../contract/operation.ts';
import { VolumePath } from '../contract/volume.ts';
import type { HistoryControl } from '../control/history-control.ts';

export function installHistoryRoutes(app: FastifyInstance, history: HistoryControl): void {
  const params = VolumePath;
  app.post<{ Params: VolumePath; Body: MomentOpen }>(
    '/v1/volumes/:name/moments',
    { schema: { params, body: MomentOpen, response: { 202: MomentOpenOperation } } },
    async (request, reply) =>
      await reply.code(202).send(history.momentOpen(request.params.name, request.body.at)),
  );
  app.get<{ Params: VolumePath; Querystring: DiffQuery }>(
    '/v1/volumes/:name/diff',
    { schema: { params, querystring: DiffQuery, response: { 200: Diff } } },
    async (request) => await history.diff(request.params.name, request.query),
  );
  app.get<{ Params: VolumePath; Querystring: ChangesQuery }>(
    '/v1/volumes/:name/changes',
    { schema: { params, querystring: ChangesQuery, response: { 200: Changes } } },
    async (request) => await history.changes(request.params.name, request.query),
  );
  app.get<{ Params: VolumePath; Querystring: RateQuery }>(
    '/v1/volumes/:name/rate',
    { schema: { params, querystring: RateQuery, response: { 200: Rate } } },
    async (request) => await history.rate(request.params.name, request.query),
  );
}
