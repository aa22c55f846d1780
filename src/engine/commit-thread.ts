/** Entry of the commit thread: sleeps on its bell, drains the ring, rings the main thread's bell. Blocks on the disk by design. */
import { workerData } from 'node:worker_threads';
import { SystemDisk } from '../host/disk.ts';
import { control } from '../volume/commit-ring.ts';
import { Committer } from '../volume/committer.ts';
import type { CommitThreadData } from './thread-data.ts';

// The engine starts this thread with exactly this.
const { folder, shared } = workerData as CommitThreadData;
const words = new Int32Array(shared.control);
const committer = new Committer(shared, new SystemDisk(folder), () => {
  Atomics.add(words, control.mainBell, 1);
  Atomics.notify(words, control.mainBell);
});

while (Atomics.load(words, control.stop) === 0) {
  const bell = Atomics.load(words, control.commitBell);
  committer.drain();
  Atomics.wait(words, control.commitBell, bell);
}
committer.close();
