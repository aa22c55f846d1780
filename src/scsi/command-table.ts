/**
 * The command table: rows by opcode and service action. It is data; `command-set.ts` lists the rows.
 *
 *     opcode 0 … 255 ─▶ row
 *                   └─▶ service action 0 … 31 ─▶ row
 */
import { assert } from '../base/assert.ts';
import { byteAt } from './bytes.ts';
import type { CommandRow } from './command-row.ts';

export const serviceActionMask = 0x1f;

interface Entry {
  readonly single: CommandRow | undefined;
  readonly actions: (CommandRow | undefined)[];
}

export class CommandTable {
  readonly rows: readonly CommandRow[];
  readonly #entries: (Entry | undefined)[] = new Array<Entry | undefined>(256).fill(undefined);

  constructor(rows: readonly CommandRow[]) {
    this.rows = [...rows].sort(byCode);
    for (const row of this.rows) this.#add(row);
  }

  /** The row of a CDB; undefined when there is no such command. */
  find(cdb: Uint8Array): CommandRow | undefined {
    const entry = this.#entries[byteAt(cdb, 0)];
    if (entry === undefined) return undefined;
    return entry.single ?? entry.actions[byteAt(cdb, 1) & serviceActionMask];
  }

  hasOpcode(opcode: number): boolean {
    return this.#entries[opcode] !== undefined;
  }

  /** Whether the opcode's commands are told apart by service action. */
  hasServiceActions(opcode: number): boolean {
    const entry = this.#entries[opcode];
    return entry !== undefined && entry.single === undefined;
  }

  row(opcode: number, serviceAction: number): CommandRow | undefined {
    const entry = this.#entries[opcode];
    return entry?.single ?? entry?.actions[serviceAction];
  }

  #add(row: CommandRow): void {
    const { opcode, serviceAction } = row;
    assert(row.usage.length === cdbBytes(opcode), `usage of ${row.name} is as long as its CDB`);
    assert(row.usage[0] === opcode, `usage of ${row.name} begins with its opcode`);
    const entry = this.#entries[opcode];
    if (serviceAction === undefined) {
      assert(entry === undefined, `${row.name} has its opcode for itself`);
      this.#entries[opcode] = { single: row, actions: [] };
      return;
    }
    const actions = entry?.actions ?? [];
    assert(entry?.single === undefined, `${row.name} shares its opcode by service action`);
    assert(actions[serviceAction] === undefined, `${row.name} is in the table once`);
    actions[serviceAction] = row;
    this.#entries[opcode] = { single: undefined, actions };
  }
}

function byCode(left: CommandRow, right: CommandRow): number {
  return left.opcode - right.opcode || (left.serviceAction ?? 0) - (right.serviceAction ?? 0);
}

/** Length of a CDB by the group in its opcode, SPC-4 4.3. */
function cdbBytes(opcode: number): number {
  const group = opcode >> 5;
  if (group === 0) return 6;
  if (group === 4) return 16;
  return group === 5 ? 12 : 10;
}

/** First bit of the CDB that must be zero and is not, as byte × 8 + bit, the leftmost of its byte; -1 when there is none. */
export function wrongBit(row: CommandRow, cdb: Uint8Array): number {
  const { usage } = row;
  for (let at = 1; at < usage.length; at += 1) {
    const wrong = byteAt(cdb, at) & ~byteOf(usage, at);
    if (wrong !== 0) return at * 8 + (31 - Math.clz32(wrong));
  }
  return -1;
}

function byteOf(usage: readonly number[], at: number): number {
  return usage[at] ?? 0;
}
