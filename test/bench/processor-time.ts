/** Processor time of processes and of the whole machine, from /proc. */
import fs from 'node:fs';

/** Clock ticks per second in /proc; fixed by the kernel's interface. */
const ticksPerSecond = 100;

function fieldsOf(stat: string): number[] {
  // The program's name may hold spaces and parentheses; what follows the last one is numbers.
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
}

function childrenOf(pid: number): number[] {
  try {
    const text = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}

/** Seconds of processor time that a process, its threads and its children have used, the reaped ones included. */
export function processSeconds(pid: number): number {
  let own = 0;
  try {
    const fields = fieldsOf(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from field 3 here.
    for (const index of [11, 12, 13, 14]) own += (fields[index] ?? 0) / ticksPerSecond;
  } catch {
    return 0;
  }
  return childrenOf(pid).reduce((sum, child) => sum + processSeconds(child), own);
}

/** Seconds of processor time that anything on this machine has used, all processors together. */
export function machineSeconds(): number {
  const [line = ''] = fs.readFileSync('/proc/stat', 'utf8').split('\n');
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, softInterrupt = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + interrupt + softInterrupt) / ticksPerSecond;
}
