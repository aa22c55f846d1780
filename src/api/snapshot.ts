/** /v1/volumes/NAME/snapshots */
import type { FastifyInstance } from 'fastify';
import { ForceQuery } from '../contract/common.ts';
import {
  Snapshot,
  SnapshotCreate,
  SnapshotList,
  SnapshotPath,
  SnapshotSet,
} from '../contract/snapshot.ts';
import { Deleted, VolumePath } from '../contract/volume.ts';
import type { PoolControl } from '../control/pool-control.ts';

export function installSnapshotRoutes(app: FastifyInstance, control: PoolControl): void {
  app.get<{ Params: VolumePath }>(
    '/v1/volumes/:name/snapshots',
    {
      schema: {
        params: VolumePath,
        response: { 200: SnapshotList },
      },
    },
    async (request) => ({ snapshots: await control.snapshotList(request.params.name) }),
  );
  app.post<{ Params: VolumePath; Body: SnapshotCreate }>(
    '/v1/volumes/:name/snapshots',
    {
      schema: {
        params: VolumePath,
        body: SnapshotCreate,
        response: { 201: Snapshot },
      },
    },
    async (request, reply) => {
      const snapshot = await control.snapshotCreate(request.params.name, request.body);
      return await reply.code(201).send(snapshot);
    },
  );
  app.post<{ Params: SnapshotPath; Body: SnapshotSet }>(
    '/v1/volumes/:name/snapshots/:snapshot/set',
    { schema: { params: SnapshotPath, body: SnapshotSet, response: { 200: Snapshot } } },
    async (request) => {
      const { name, snapshot } = request.params;
      return await control.snapshotSet(name, snapshot, request.body);
    },
  );
  app.delete<{ Params: SnapshotPath; Querystring: ForceQuery }>(
    '/v1/volumes/:name/snapshots/:snapshot',
    {
      schema: {
        params: SnapshotPath,
        querystring: ForceQuery,
        response: { 200: Deleted },
      },
    },
    async (request) => {
      const { name, snapshot } = request.params;
      await control.snapshotDelete(name, snapshot, request.query.force === 'true');
      return { deleted: `${name}@${snapshot}` };
    },
  );
}
