/** /v1/views */
import type { FastifyInstance } from 'fastify';
import { ForceQuery } from '../contract/common.ts';
import {
  View,
  ViewCreate,
  ViewList,
  ViewPath,
  ViewQuery,
  ViewRefresh,
  ViewsCreate,
} from '../contract/view.ts';
import { Deleted, Volume } from '../contract/volume.ts';
import type { PoolControl } from '../control/pool-control.ts';

export function installViewRoutes(app: FastifyInstance, control: PoolControl): void {
  installReading(app, control);
  installChanging(app, control);
}

function installReading(app: FastifyInstance, control: PoolControl): void {
  app.get<{ Querystring: ViewQuery }>(
    '/v1/views',
    { schema: { querystring: ViewQuery, response: { 200: ViewList } } },
    async (request) => ({ views: await control.viewList(request.query.source) }),
  );
  app.get<{ Params: ViewPath }>(
    '/v1/views/:name',
    { schema: { params: ViewPath, response: { 200: View } } },
    async (request) => await control.viewShow(request.params.name),
  );
}

function installChanging(app: FastifyInstance, control: PoolControl): void {
  app.post<{ Body: ViewCreate }>(
    '/v1/views',
    { schema: { body: ViewCreate, response: { 201: View } } },
    async (request, reply) => await reply.code(201).send(await control.viewCreate(request.body)),
  );
  app.post<{ Body: ViewsCreate }>(
    '/v1/views/together',
    { schema: { body: ViewsCreate, response: { 201: ViewList } } },
    async (request, reply) => {
      const views = await control.viewsCreate(request.body);
      return await reply.code(201).send({ views });
    },
  );
  const params = ViewPath;
  app.post<{ Params: ViewPath; Body: ViewRefresh }>(
    '/v1/views/:name/refresh',
    { schema: { params, body: ViewRefresh, response: { 200: View } } },
    async (request) => {
      const { at, disconnect } = request.body;
      return await control.viewRefresh(request.params.name, at, disconnect === true);
    },
  );
  app.post<{ Params: ViewPath }>(
    '/v1/views/:name/promote',
    { schema: { params, response: { 200: Volume } } },
    async (request) => await control.viewPromote(request.params.name),
  );
  app.delete<{ Params: ViewPath; Querystring: ForceQuery }>(
    '/v1/views/:name',
    { schema: { params, querystring: ForceQuery, response: { 200: Deleted } } },
    async (request) => {
      await control.viewDelete(request.params.name, request.query.force === 'true');
      return { deleted: request.params.name };
    },
  );
}
