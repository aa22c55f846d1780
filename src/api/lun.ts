/** /v1/luns, and what one host sees */
import type { FastifyInstance } from 'fastify';
import { ForceQuery } from '../contract/common.ts';
import { Lun, LunList, LunMap, LunPath, LunQuery, LunUnmapped } from '../contract/lun.ts';
import type { LunControl } from '../control/lun-control.ts';

export function installLunRoutes(app: FastifyInstance, luns: LunControl): void {
  app.get<{ Querystring: LunQuery }>(
    '/v1/luns',
    { schema: { querystring: LunQuery, response: { 200: LunList } } },
    async (request) => ({ luns: await luns.lunList(request.query) }),
  );
  app.post<{ Body: LunMap }>(
    '/v1/luns',
    { schema: { body: LunMap, response: { 201: Lun } } },
    async (request, reply) => await reply.code(201).send(await luns.lunMap(request.body)),
  );
  app.delete<{ Params: LunPath; Querystring: ForceQuery }>(
    '/v1/hosts/:name/luns/:volume',
    { schema: { params: LunPath, querystring: ForceQuery, response: { 200: LunUnmapped } } },
    async (request) => {
      const { name, volume } = request.params;
      return await luns.lunUnmap(name, volume, request.query.force === 'true');
    },
  );
}
