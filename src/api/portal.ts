/** /v1/portals */
import type { FastifyInstance } from 'fastify';
import { PortalAdd, PortalList, PortalPath } from '../contract/portal.ts';
import type { PortalControl } from '../control/portal-control.ts';

export function installPortalRoutes(app: FastifyInstance, portals: PortalControl): void {
  const response = PortalList;
  app.get(
    '/v1/portals',
    { schema: { response: { 200: response } } },
    async () => await Promise.resolve(portals.portalList()),
  );
  app.post<{ Body: PortalAdd }>(
    '/v1/portals',
    { schema: { body: PortalAdd, response: { 201: response } } },
    async (request, reply) => await reply.code(201).send(await portals.portalAdd(request.body)),
  );
  app.delete<{ Params: PortalPath }>(
    '/v1/portals/:address/:port',
    { schema: { params: PortalPath, response: { 200: response } } },
    async (request) => {
      const { address, port } = request.params;
      return await portals.portalRemove(address, Number(port));
    },
  );
}
