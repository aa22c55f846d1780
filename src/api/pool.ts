/** /v1/pool */
import type { FastifyInstance } from 'fastify';
import {
  PoolCleanOperation,
  PoolRebuildOperation,
  PoolVerifyOperation,
  SpaceOperation,
} from '../contract/operation.ts';
import { Pool, PoolResize, PoolSetLimits } from '../contract/pool.ts';
import { SpaceQuestion } from '../contract/space.ts';
import type { PoolControl } from '../control/pool-control.ts';

export function installPoolRoutes(app: FastifyInstance, control: PoolControl): void {
  app.get(
    '/v1/pool',
    { schema: { response: { 200: Pool } } },
    async () => await control.poolShow(),
  );
  app.post(
    '/v1/pool/verify',
    { schema: { response: { 202: PoolVerifyOperation } } },
    async (_request, reply) => await reply.code(202).send(control.poolVerify()),
  );
  app.post<{ Body: SpaceQuestion }>(
    '/v1/pool/space',
    { schema: { body: SpaceQuestion, response: { 202: SpaceOperation } } },
    async (request, reply) => await reply.code(202).send(control.poolSpace(request.body)),
  );
  app.post(
    '/v1/pool/rebuild',
    { schema: { response: { 202: PoolRebuildOperation } } },
    async (_request, reply) => await reply.code(202).send(control.poolRebuild()),
  );
  app.post(
    '/v1/pool/clean',
    { schema: { response: { 202: PoolCleanOperation } } },
    async (_request, reply) => await reply.code(202).send(control.poolClean()),
  );
  app.post<{ Body: PoolResize }>(
    '/v1/pool/resize',
    { schema: { body: PoolResize, response: { 200: Pool } } },
    async (request) => await control.poolResize(request.body.capacityBytes),
  );
  app.post<{ Body: PoolSetLimits }>(
    '/v1/pool/limits',
    { schema: { body: PoolSetLimits, response: { 200: Pool } } },
    async (request) => await control.poolSetLimits(request.body),
  );
}
