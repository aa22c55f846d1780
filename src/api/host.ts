/** /v1/hosts */
import type { FastifyInstance } from 'fastify';
import { ForceQuery } from '../contract/common.ts';
import { Host, HostCreate, HostList, HostPath, HostSet } from '../contract/host.ts';
import { SessionsDropped } from '../contract/session.ts';
import { Deleted } from '../contract/volume.ts';
import type { HostControl } from '../control/host-control.ts';
import type { SessionControl } from '../control/session-control.ts';

export function installHostRoutes(
  app: FastifyInstance,
  hosts: HostControl,
  sessions: SessionControl,
): void {
  app.get('/v1/hosts', { schema: { response: { 200: HostList } } }, async () => ({
    hosts: await hosts.hostList(),
  }));
  app.get<{ Params: HostPath }>(
    '/v1/hosts/:name',
    { schema: { params: HostPath, response: { 200: Host } } },
    async (request) => await hosts.hostShow(request.params.name),
  );
  app.post<{ Body: HostCreate }>(
    '/v1/hosts',
    { schema: { body: HostCreate, response: { 201: Host } } },
    async (request, reply) => await reply.code(201).send(await hosts.hostCreate(request.body)),
  );
  app.post<{ Params: HostPath; Body: HostSet }>(
    '/v1/hosts/:name/set',
    { schema: { params: HostPath, body: HostSet, response: { 200: Host } } },
    async (request) => await hosts.hostSet(request.params.name, request.body),
  );
  app.delete<{ Params: HostPath; Querystring: ForceQuery }>(
    '/v1/hosts/:name',
    { schema: { params: HostPath, querystring: ForceQuery, response: { 200: Deleted } } },
    async (request) => {
      await hosts.hostDelete(request.params.name, request.query.force === 'true');
      return { deleted: request.params.name };
    },
  );
  app.delete<{ Params: HostPath }>(
    '/v1/hosts/:name/sessions',
    { schema: { params: HostPath, response: { 200: SessionsDropped } } },
    async (request) => ({ droppedCount: await sessions.sessionDropHost(request.params.name) }),
  );
}
