/** Ports on loopback that nobody listens on at this moment, for programs that cannot pick one themselves. */
import net from 'node:net';

export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => net.createServer());
  const ports = await Promise.all(
    servers.map(async (server) => {
      const { promise, resolve } = Promise.withResolvers<number>();
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
      return await promise;
    }),
  );
  for (const server of servers) server.close();
  return ports;
}
